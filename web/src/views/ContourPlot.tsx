// The surface from above: a land in, a map with lines of equal loss out.
import { useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { canvasOf } from "../canvas";
import { drawContours, shades } from "../contours";
import { number } from "../format";
import { between, type Land } from "../land";
import { palette, type Theme } from "../theme";
import { useWidth } from "./useWidth";

interface Props {
  land: Land;
  heights: Float64Array;
  log: boolean;
  /** Fractional [column, row]. */
  pointed: [number, number] | null;
  point: (place: [number, number] | null) => void;
  theme: Theme;
}

const LEFT = 46;
const BELOW = 24;

export function ContourPlot({ land, heights, log, pointed, point, theme }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const width = useWidth(box);
  const height = Math.round(Math.min(Math.max(width * 0.78, 240), 430));
  const frame = useMemo(
    () => ({ left: LEFT, top: 8, width: Math.max(width - LEFT - 10, 1), height: height - BELOW - 8 }), [width, height]);
  const source = useMemo(() => shades({ land, heights }), [land, heights]);
  useLayoutEffect(() => {
    const context = canvasOf(canvas.current, width, height);
    if (context && width > 80) drawContours(context, { land, heights, log, frame, colours: palette() }, source);
  }, [land, heights, log, frame, source, width, height, theme]);
  const seen = (event: PointerEvent): void => {
    const at = (event.currentTarget as HTMLElement).getBoundingClientRect();
    const column = ((event.clientX - at.left - frame.left) / frame.width) * (land.alpha.length - 1);
    const row = (1 - (event.clientY - at.top - frame.top) / frame.height) * (land.beta.length - 1);
    point(Number.isNaN(between(land.loss, land.alpha.length, column, row)) ? null : [column, row]);
  };
  return (
    <div class="contours" ref={box} onPointerMove={seen} onPointerLeave={() => point(null)}>
      <canvas ref={canvas} role="img" aria-label="The same surface from above, with lines of equal loss and the path" />
      {pointed && <Tip land={land} place={pointed} frame={frame} />}
      <p class="axis-names"><span>β ↑ α →</span></p>
    </div>
  );
}

interface TipProps {
  land: Land;
  place: [number, number];
  frame: { left: number; top: number; width: number; height: number };
}

function Tip({ land, place: [column, row], frame }: TipProps) {
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
      <p>loss <b>{number(between(land.loss, land.alpha.length, column, row))}</b></p>
      <p class="soft">α {number(tick(land.alpha, column), 2)}, β {number(tick(land.beta, row), 2)}</p>
    </div>
  );
}
