// The loss along one direction: a line in, a chart that is read by pointing and keys out.
import { useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { canvasOf } from "../canvas";
import { number } from "../format";
import { drawLine, type LossLine, nearestPoint, scales } from "../line";
import { axisName } from "../slice";
import { palette, type Theme } from "../theme";
import { useWidth } from "./useWidth";

interface Props {
  line: LossLine;
  log: boolean;
  dots: boolean;
  /** Index of a point of the line. */
  pointed: number | null;
  point: (at: number | null) => void;
  theme: Theme;
  label: string;
}

export function LossLinePlot({ line, log, dots, pointed, point, theme, label }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const width = useWidth(box);
  const height = Math.round(Math.min(Math.max(width * 0.42, 220), 360));
  const frame = useMemo(() => ({ left: 56, top: 14, width: Math.max(width - 76, 1), height: height - 44 }), [width, height]);
  useLayoutEffect(() => {
    const context = canvasOf(canvas.current, width, height);
    if (context && width > 120) drawLine(context, { line, log, dots, frame, colours: palette(), pointed });
  }, [line, log, dots, frame, width, height, pointed, theme]);
  const seen = (event: PointerEvent): void => {
    const at = (event.currentTarget as HTMLElement).getBoundingClientRect();
    const [first, last] = [Math.min(...line.alpha), Math.max(...line.alpha)];
    point(nearestPoint(line.alpha, first + ((event.clientX - at.left - frame.left) / frame.width) * (last - first)));
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const next = stepped(event, line.alpha.length, pointed);
    if (next === undefined) return;
    event.preventDefault();
    point(next);
  };
  return (
    <div class="loss-line" ref={box} onPointerMove={seen} onPointerLeave={() => point(null)}>
      <canvas
        ref={canvas} tabIndex={0} role="img" aria-roledescription="line" onKeyDown={onKeyDown} onBlur={() => point(null)}
        aria-label={`${label} Arrow keys walk along it, Escape leaves it.`}
      />
      {pointed !== null && <Tip line={line} at={pointed} x={scales({ line, log, frame }).x(line.alpha[pointed] ?? 0)} middle={frame.left + frame.width / 2} />}
      <p class="axis-names"><span>→ {axisName(line, 0)}</span>{line.holes > 0 && <span class="chip"><i class="hatched" />{line.quantity === "loss" ? "not finite" : "no value"}</span>}</p>
    </div>
  );
}

function Tip({ line, at, x, middle }: { line: LossLine; at: number; x: number; middle: number }) {
  const loss = line.loss[at] ?? NaN;
  const style = x > middle ? { right: `calc(100% - ${x - 12}px)`, top: "24px" } : { left: `${x + 14}px`, top: "24px" };
  return (
    <div class="tip" style={style}>
      <p>{line.quantity === "loss" ? "loss" : "|λmin| / λmax"} <b>{Number.isFinite(loss) ? number(loss) : "not finite"}</b></p>
      <p class="soft">α {number(line.alpha[at], 2)}</p>
    </div>
  );
}

/** The point after a key; undefined for other keys. */
export function stepped({ key }: Pick<KeyboardEvent, "key">, count: number, from: number | null): number | null | undefined {
  if (key === "Escape") return null;
  if (key === "Home") return 0;
  if (key === "End") return count - 1;
  const by = { ArrowLeft: -1, ArrowRight: 1 }[key];
  if (by === undefined) return undefined;
  if (from === null) return Math.floor(count / 2);
  return Math.min(Math.max(from + by, 0), count - 1);
}
