// The surface from above: a land in, a map with lines of equal loss out.
import { useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { canvasOf } from "../canvas";
import { drawContours, shades } from "../contours";
import { number } from "../format";
import { between, holesOf, type Land, lossOf, type Relief } from "../land";
import { axisName } from "../slice";
import { palette, type Theme } from "../theme";
import { useWidth } from "./useWidth";

interface Props {
  land: Land;
  relief: Relief;
  log: boolean;
  dots: boolean;
  /** Fractional [column, row]. */
  pointed: [number, number] | null;
  point: (place: [number, number] | null) => void;
  theme: Theme;
}

const LEFT = 46;
const BELOW = 24;

export function ContourPlot({ land, relief, log, dots, pointed, point, theme }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const width = useWidth(box);
  const height = Math.round(Math.min(Math.max(width * 0.78, 240), 430));
  const frame = useMemo(
    () => ({ left: LEFT, top: 8, width: Math.max(width - LEFT - 10, 1), height: height - BELOW - 8 }), [width, height]);
  const source = useMemo(() => shades(relief), [relief]);
  useLayoutEffect(() => {
    const context = canvasOf(canvas.current, width, height);
    if (context && width > 80) drawContours(context, { land, relief, log, dots, frame, colours: palette() }, source);
  }, [land, relief, log, dots, frame, source, width, height, theme]);
  const shown = (place: [number, number]): number =>
    lossOf(land, log)(between(relief.heights, relief.columns, place[0] * relief.times, place[1] * relief.times));
  const seen = (event: PointerEvent): void => {
    const at = (event.currentTarget as HTMLElement).getBoundingClientRect();
    const column = ((event.clientX - at.left - frame.left) / frame.width) * (land.alpha.length - 1);
    const row = (1 - (event.clientY - at.top - frame.top) / frame.height) * (land.beta.length - 1);
    const inside = column >= 0 && row >= 0 && column <= land.alpha.length - 1 && row <= land.beta.length - 1;
    point(inside ? [column, row] : null);
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const next = walked(event, land, pointed);
    if (next === undefined) return;
    event.preventDefault();
    point(next);
  };
  return (
    <div class="contours" ref={box} onPointerMove={seen} onPointerLeave={() => point(null)}>
      <canvas
        ref={canvas} tabIndex={0} role="img" aria-roledescription="map" onKeyDown={onKeyDown} onBlur={() => point(null)}
        aria-label="The same from above, with lines of equal height. Arrow keys walk over it, Escape leaves it."
      />
      {pointed && <Tip land={land} place={pointed} frame={frame} shown={shown(pointed)} />}
      <p class="axis-names">
        <span>→ {axisName(land, 0)}</span><span>↑ {axisName(land, 1)}</span>
        {holesOf(land).length > 0 && <span class="chip"><i class="hatched" />{land.quantity === "loss" ? "not finite" : "no value"}</span>}
      </p>
    </div>
  );
}

/** The place after a key, cell by cell from the middle; undefined for other keys. */
export function walked(
  { key }: Pick<KeyboardEvent, "key">, { alpha, beta }: Pick<Land, "alpha" | "beta">, from: [number, number] | null,
): [number, number] | null | undefined {
  if (key === "Escape") return null;
  const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[key];
  if (!by) return undefined;
  const kept = (at: number, count: number): number => Math.min(Math.max(at, 0), count - 1);
  const [column, row] = from ?? [Math.floor(alpha.length / 2), Math.floor(beta.length / 2)];
  if (!from) return [column, row];
  return [kept(Math.round(column) + (by[0] ?? 0), alpha.length), kept(Math.round(row) + (by[1] ?? 0), beta.length)];
}

interface TipProps {
  land: Land;
  place: [number, number];
  frame: { left: number; top: number; width: number; height: number };
  shown: number;
}

function Tip({ land, place: [column, row], frame, shown }: TipProps) {
  const tick = (ticks: number[], at: number): number => {
    const low = Math.min(Math.floor(at), ticks.length - 2);
    const [from, to] = [ticks[low] ?? 0, ticks[low + 1] ?? 0];
    return from + (to - from) * (at - low);
  };
  const x = frame.left + (column / (land.alpha.length - 1)) * frame.width;
  const y = frame.top + (1 - row / (land.beta.length - 1)) * frame.height;
  const leftward = x > frame.left + frame.width / 2;
  const style = leftward ? { right: `calc(100% - ${x - 12}px)`, top: `${y}px` } : { left: `${x + 14}px`, top: `${y}px` };
  return (
    <div class="tip" style={style}>
      <p>{land.quantity === "loss" ? "loss" : "|λmin| / λmax"} <b>{Number.isNaN(shown) ? "not finite" : number(shown)}</b></p>
      <p class="soft">α {number(tick(land.alpha, column), 2)}, β {number(tick(land.beta, row), 2)}</p>
    </div>
  );
}
