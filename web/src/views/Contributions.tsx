// Which layers' updates change the loss: a map of gradient · update in, shares out.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { canvasOf } from "../canvas";
import { css } from "../colours";
import type { HeatPanel } from "../data";
import { percent, shorten, step } from "../format";
import { codeAt, columnAt, type Grid, unpack, value } from "../grid";
import { type Frame, stepAt, xOf } from "../heat";
import type { Range } from "../link";
import { type Band, bandAt, bands } from "../shares";
import { drawStack, shadeOf } from "../stack";
import { palette } from "../theme";
import type { Shared } from "./Tracks";
import { useTurn } from "./useTurn";
import { AXIS, useWidth } from "./useWidth";

interface Props {
  panel: HeatPanel;
  names: string[];
  shared: Shared;
}

const HEIGHT = 190;
const CLICK = 5; // pixels: less than this between down and up is no span

export function Contributions({ panel, names, shared }: Props) {
  const grid = useMemo(() => unpack(panel), [panel]);
  const found = useMemo(() => bands(grid, names), [grid, names]);
  const box = useRef<HTMLDivElement>(null);
  const width = useWidth(box);
  const frame = useMemo(() => ({ left: AXIS, top: 4, width: Math.max(width - AXIS, 1), height: HEIGHT - 8 }), [width]);
  const [at, point] = useState<number | null>(null);
  const [chosen, choose] = useState<number | null>(null);
  const [drag, setDrag] = useState<Range | null>(null);
  useEffect(() => shared.pointer.follow((place) => point(place.step)), [shared.pointer]);
  const canvas = useDrawn({ found, grid, frame, chosen, shared });
  const mouse = useMouse({ found, grid, frame, shared, choose, setDrag });
  if (!found.length) return null;
  const column = at === null ? grid.columns - 1 : columnAt(grid, at);
  const x = at === null ? null : xOf(at, shared.range, frame);
  return (
    <div class="track shares" data-view="contributions">
      <div class="title">
        <h3>Contribution by layer</h3>
        <span class="unit">share of |gradient · update|</span>
      </div>
      <div class="chart" ref={box} style={{ height: `${HEIGHT}px` }} {...mouse}>
        <canvas ref={canvas} role="img" aria-label={spoken(found)} />
        {x !== null && x >= frame.left && x <= width && <i class="hair" style={{ left: `${x}px` }} />}
        {drag && <Span drag={drag} range={shared.range} frame={frame} />}
        <SharesTable found={found} />
      </div>
      <SideShares found={found} grid={grid} column={column} chosen={chosen} last={at === null} />
    </div>
  );
}

function spoken(found: Band[]): string {
  const parts = found.map((band) => `${band.name} ${percent(band.mean)}`);
  return `Shares of |gradient · update| over the run: ${parts.join(", ")}`;
}

interface Drawn {
  found: Band[];
  grid: Grid;
  frame: Frame;
  chosen: number | null;
  shared: Shared;
}

function useDrawn({ found, grid, frame, chosen, shared }: Drawn): preact.RefObject<HTMLCanvasElement> {
  const canvas = useRef<HTMLCanvasElement>(null);
  useTurn(shared.turns, () => {
    const context = canvasOf(canvas.current, frame.left + frame.width, HEIGHT);
    if (!context || frame.width < 10) return;
    drawStack(context, { bands: found, edges: grid.edges, range: shared.range, frame, colours: palette(), chosen });
  }, [found, grid, frame, chosen, shared.range, shared.theme]);
  return canvas;
}

interface Mouse {
  found: Band[];
  grid: Grid;
  frame: Frame;
  shared: Shared;
  choose: (band: number | null) => void;
  setDrag: (range: Range | null) => void;
}

function useMouse({ found, grid, frame, shared, choose, setDrag }: Mouse) {
  const from = useRef<number | null>(null);
  const stepOf = (event: PointerEvent): number => {
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    return stepAt(event.clientX - box.left, shared.range, frame);
  };
  const span = (event: PointerEvent): Range | null => {
    const [start, end] = [from.current, stepOf(event)];
    if (start === null || event.pointerType !== "mouse") return null;
    const moved = Math.abs(xOf(end, shared.range, frame) - xOf(start, shared.range, frame)) >= CLICK;
    return moved ? [Math.min(start, end), Math.max(start, end)] : null;
  };
  return {
    onPointerMove: (event: PointerEvent) => {
      const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
      const at = stepOf(event);
      shared.pointer.move(at);
      choose(bandAt(found, columnAt(grid, at), 1 - (event.clientY - box.top - frame.top) / frame.height));
      setDrag(span(event));
    },
    onPointerDown: (event: PointerEvent) => { from.current = stepOf(event); },
    onPointerUp: (event: PointerEvent) => {
      const dragged = span(event);
      from.current = null;
      setDrag(null);
      if (dragged) shared.zoom(dragged);
    },
    onPointerLeave: () => { from.current = null; setDrag(null); choose(null); shared.pointer.move(null); },
    onDblClick: () => shared.zoom(shared.whole),
  };
}

function Span({ drag, range, frame }: { drag: Range; range: Range; frame: Frame }) {
  const [left, right] = drag.map((step) => xOf(step, range, frame));
  const style = { left: `${left ?? 0}px`, width: `${(right ?? 0) - (left ?? 0)}px`, height: `${frame.height + 4}px` };
  return <div class="dragged" style={style} />;
}

interface SideProps {
  found: Band[];
  grid: Grid;
  column: number;
  chosen: number | null;
  last: boolean;
}

/** From the top down, as they are stacked. */
function SideShares({ found, grid, column, chosen, last }: SideProps) {
  const colours = palette();
  return (
    <div class="readings" aria-hidden="true">
      <p class="at">{last ? "last, " : ""}step {step(grid.steps[column] ?? 0)}</p>
      <ul>
        {found.map((band, at) => ({ band, at })).reverse().map(({ band, at }) => {
          const shade = shadeOf(band, at, found.length);
          const share = band.shares[column] ?? null;
          return (
            <li key={at} class={chosen === at ? "chosen" : ""} title={`${band.name}${effect(grid, band, column)}`}>
              <i class="swatch tall" style={{ background: shade ? css(shade) : colours.faint }} />
              <p><b>{share === null ? "–" : percent(share)}</b> <span>{shorten(band.name, 20)}</span></p>
            </li>
          );
        })}
      </ul>
    </div>
  );
}

/** Below zero the update lowers the loss, to first order. */
function effect(grid: Grid, band: Band, column: number): string {
  const found = band.row === null ? null : value(grid, codeAt(grid, band.row, column));
  if (found === null || found === 0) return "";
  return found < 0 ? ": lowers the loss" : ": raises the loss";
}

/** The same in numbers, for those who do not see the picture. */
function SharesTable({ found }: { found: Band[] }) {
  const known = (found[0]?.shares ?? []).flatMap((share, column) => (share === null ? [] : [column]));
  const cell = (band: Band, column: number | undefined): string => {
    const share = column === undefined ? null : band.shares[column] ?? null;
    return share === null ? "none" : percent(share);
  };
  return (
    <table class="spoken">
      <caption>Share of |gradient · update| by layer</caption>
      <thead><tr><th>Layer</th><th>Whole run</th><th>First reading</th><th>Last reading</th></tr></thead>
      <tbody>
        {found.map((band, at) => (
          <tr key={at}>
            <th scope="row">{band.name}</th>
            <td>{percent(band.mean)}</td><td>{cell(band, known[0])}</td><td>{cell(band, known.at(-1))}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
