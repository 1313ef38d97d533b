// The layer × step map: a packed panel in, a picture one can point at out.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { HeatPanel } from "../data";
import { columnAt, type Grid } from "../grid";
import { drawAccused, drawEmpty, drawLabels, drawMap, type Frame, rowAt, stepAt, xOf } from "../heat";
import type { Range } from "../link";
import { AXIS_HEIGHT, drawSteps } from "../steps";
import { canvasOf } from "../canvas";
import { palette } from "../theme";
import { keyed, type Cell } from "./cell";
import { CellTip, spokenCell } from "./CellTip";
import { Legend } from "./Legend";
import { Profile } from "./Profile";
import type { Shared } from "./Tracks";
import { useTurn } from "./useTurn";
import { AXIS, useWidth } from "./useWidth";

interface Props {
  quantity: string;
  panel: HeatPanel;
  /** The panel's, unpacked. */
  grid: Grid;
  names: string[];
  accused: number[];
  row: number;
  shared: Shared;
  select: (row: number) => void;
}

export function HeatTrack(props: Props) {
  const { quantity, panel, grid, names, accused, row, shared, select } = props;
  const box = useRef<HTMLDivElement>(null);
  const width = useWidth(box);
  const frame = useMemo(() => frameOf(box.current, width, grid.rows), [width, grid.rows]);
  const [cell, setCell] = useState<Cell | null>(null);
  const [drag, setDrag] = useState<Range | null>(null);
  const canvas = useDrawn(frame, props);
  useSameStep(grid, setCell);
  useFollow(shared, setCell);
  const point = (next: Cell | null): void => {
    setCell(next);
    shared.pointer.move(next && (grid.steps[next.column] ?? null), next && (panel.y[next.row] ?? null));
  };
  const mouse = useMouse({ frame, grid, shared, point, setDrag, select });
  const onKeyDown = (event: KeyboardEvent): void => {
    const done = keyed(event, { cell, row, grid, shared, point, select });
    if (done) event.preventDefault();
  };
  return (
    <div class="track heat" data-view="heatmap">
      <Legend quantity={quantity} grid={grid} />
      <div
        class="map" ref={box} tabIndex={0} role="group" aria-roledescription="heat-map"
        aria-label={described(panel, names, accused, shared.onset)}
        style={{ height: `${frame.height + AXIS_HEIGHT}px` }} onKeyDown={onKeyDown} {...mouse}
      >
        <canvas ref={canvas} />
        <Cross cell={cell} frame={frame} grid={grid} range={shared.range} drag={drag} />
        {cell && <CellTip cell={cell} frame={frame} grid={grid} panel={panel} names={names} range={shared.range} />}
        <p class="spoken" aria-live="polite">{cell && spokenCell(cell, grid, panel, names)}</p>
      </div>
      <Profile grid={grid} frame={frame} accused={accused} row={row} shared={shared} />
    </div>
  );
}

function described(panel: HeatPanel, names: string[], accused: number[], onset: number | null): string {
  const fault = accused.map((row) => names[row]).join(", ");
  const where = fault ? ` Marked: ${fault}${onset === null ? "" : ` from step ${onset}`}.` : "";
  return `${panel.title}, ${names.length} layers by step.${where} Arrow keys move, Enter chooses a layer, plus and minus zoom, Escape shows all.`;
}

function frameOf(box: HTMLElement | null, width: number, rows: number): Frame {
  const title = box ? Number.parseFloat(getComputedStyle(box).getPropertyValue("--title")) || 0 : 0;
  const left = title + AXIS;
  const height = Math.round(Math.min(Math.max(rows * 20, 110), 460));
  return { left, top: 0, width: Math.max(width - left, 1), height };
}

function useDrawn(frame: Frame, props: Props): preact.RefObject<HTMLCanvasElement> {
  const { grid, names, accused, row, shared } = props;
  const canvas = useRef<HTMLCanvasElement>(null);
  useTurn(shared.turns, () => {
    const context = canvasOf(canvas.current, frame.left + frame.width, frame.height + AXIS_HEIGHT);
    if (!context || frame.width < 10) return;
    const colours = palette();
    drawEmpty(context, frame, colours.grid);
    drawMap(context, grid, { frame, range: shared.range });
    const onset = shared.onset === null ? null : xOf(shared.onset, shared.range, frame);
    drawAccused(context, frame, {
      rows: accused, count: grid.rows, colour: colours.alarm, halo: colours.halo,
      onset: onset !== null && onset >= frame.left && onset <= frame.left + frame.width ? onset : null,
    });
    drawLabels(context, { ...colours, names, accused: new Set(accused), selected: row, brief: frame.left < 100 }, frame);
    drawSteps(context, { ...colours, ...frame, top: frame.height, range: shared.range, onset: shared.onset });
  }, [frame, grid, names, accused, row, shared.range, shared.onset, shared.theme]);
  return canvas;
}

/** Keeps pointing at the same step where columns are put to the map, or split or joined. */
function useSameStep(grid: Grid, setCell: (change: (cell: Cell | null) => Cell | null) => void): void {
  const before = useRef(grid);
  useLayoutEffect(() => {
    const { steps } = before.current;
    if (before.current === grid) return;
    before.current = grid;
    setCell((cell) => cell && {
      row: Math.min(cell.row, grid.rows - 1), column: columnAt(grid, steps[cell.column] ?? 0),
    });
  }, [grid, setCell]);
}

/** Shows the step that another chart points at. */
function useFollow(shared: Shared, setCell: (cell: Cell | null) => void): void {
  useEffect(
    () => shared.pointer.follow((place) => { if (place.layer === null) setCell(null); }),
    [shared.pointer, setCell],
  );
}

interface Mouse {
  frame: Frame;
  grid: Grid;
  shared: Shared;
  point: (cell: Cell | null) => void;
  setDrag: (range: Range | null) => void;
  select: (row: number) => void;
}

const CLICK = 5; // pixels: less than this between down and up is a click

function useMouse({ frame, grid, shared, point, setDrag, select }: Mouse) {
  const from = useRef<number | null>(null);
  const seen = (event: PointerEvent): { x: number; step: number; cell: Cell } => {
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    const x = event.clientX - box.left;
    const step = stepAt(x, shared.range, frame);
    const row = rowAt(event.clientY - box.top, grid.rows, frame);
    return { x, step, cell: { row, column: columnAt(grid, step) } };
  };
  return {
    onPointerMove: (event: PointerEvent) => {
      const { x, step, cell } = seen(event);
      point(cell);
      if (from.current === null || event.pointerType !== "mouse") return;
      const moved = Math.abs(x - xOf(from.current, shared.range, frame)) >= CLICK;
      setDrag(moved ? sorted(from.current, step) : null);
    },
    onPointerDown: (event: PointerEvent) => { from.current = seen(event).step; },
    onPointerUp: (event: PointerEvent) => {
      const { x, step, cell } = seen(event);
      const start = from.current;
      from.current = null;
      setDrag(null);
      if (start === null) return;
      const moved = Math.abs(x - xOf(start, shared.range, frame)) >= CLICK;
      if (moved && event.pointerType === "mouse") {
        point(null);
        shared.zoom(sorted(start, step));
      } else { point(cell); select(cell.row); }
    },
    onPointerLeave: () => { from.current = null; setDrag(null); point(null); },
    onDblClick: () => shared.zoom(shared.whole),
  };
}

function sorted(a: number, b: number): Range {
  return a < b ? [a, b] : [b, a];
}

interface CrossProps {
  cell: Cell | null;
  frame: Frame;
  grid: Grid;
  range: Range;
  drag: Range | null;
}

/** The outline of the cell under the pointer, and the span being dragged. */
function Cross({ cell, frame, grid, range, drag }: CrossProps) {
  const clamp = (step: number): number =>
    Math.min(Math.max(xOf(step, range, frame), frame.left), frame.left + frame.width);
  const height = frame.height / grid.rows;
  const left = cell ? clamp(grid.edges[cell.column] ?? 0) : 0;
  const right = cell ? clamp(grid.edges[cell.column + 1] ?? 0) : 0;
  return (
    <>
      {cell && (
        <div
          class="cross"
          style={{ left: `${left}px`, top: `${cell.row * height}px`, width: `${Math.max(right - left, 2)}px`, height: `${height}px` }}
        />
      )}
      {drag && (
        <div
          class="dragged"
          style={{ left: `${clamp(drag[0])}px`, width: `${clamp(drag[1]) - clamp(drag[0])}px`, height: `${frame.height}px` }}
        />
      )}
    </>
  );
}
