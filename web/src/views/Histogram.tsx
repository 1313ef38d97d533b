// How large one layer's gradients are, element by element: recorded histograms in, a
// strip over steps and the bars of one step out.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { drawRidge } from "../bars";
import { canvasOf } from "../canvas";
import type { FieldOffer } from "../data";
import { type AskField, nearest } from "../field";
import { number, percent, shorten, step as stepWords } from "../format";
import { type Bars, bars, median } from "../histogram";
import { palette, type Theme } from "../theme";
import { useFields } from "./useField";
import { AXIS, useWidth } from "./useWidth";

interface Props {
  ask: AskField;
  stream: string;
  offer: FieldOffer;
  layer: string;
  /** The step that was clicked; null shows the last one. */
  step: number | null;
  theme: Theme;
}

const HEIGHT = 150;
const BELOW = 20;
const MOST = 24; // steps asked for: each is a request where a server answers

export function Histogram({ ask, stream, offer, layer, step, theme }: Props) {
  const steps = useMemo(() => spread(offer.steps, step), [offer.steps, step]);
  const fields = useFields(ask, { kind: offer.kind, stream, layer }, steps);
  const all = useMemo(() => (fields ?? []).map(bars).filter((one): one is Bars => one !== null), [fields]);
  const [chosen, choose] = useState(0);
  const own = all.map((one) => one.step).join(",");
  useEffect(() => {
    const there = all.map((one) => one.step);
    choose(Math.max(there.indexOf(nearest(there, step ?? Infinity) ?? -1), 0));
  }, [own, step]);
  const box = useRef<HTMLDivElement>(null);
  const width = useWidth(box);
  const one = all[Math.min(chosen, all.length - 1)];
  const canvas = useDrawn({ all, chosen: Math.min(chosen, all.length - 1), width, theme });
  const several = all.length > 1;
  const pick = (event: PointerEvent): void => {
    const at = (event.currentTarget as HTMLElement).getBoundingClientRect();
    const { strip } = frames(width, several);
    const column = Math.floor(((event.clientX - at.left - strip.left) / strip.width) * all.length);
    if (several && column >= 0 && column < all.length) choose(column);
  };
  return (
    <div class="track histogram" data-view="histogram">
      <div class="title">
        <h3>Gradient histogram <code>{shorten(layer, 40)}</code></h3>
        <span class="unit">|g|, log scale</span>
      </div>
      <div class="chart" ref={box} style={{ height: `${HEIGHT}px` }}>
        {one ? (
          <canvas
            ref={canvas} role="img" aria-label={one ? told(one) : ""} tabIndex={several ? 0 : -1}
            onPointerDown={pick} onKeyDown={(event) => {
              const by = event.key === "ArrowLeft" ? -1 : event.key === "ArrowRight" ? 1 : 0;
              if (!by) return;
              event.preventDefault();
              choose(Math.min(Math.max(chosen + by, 0), all.length - 1));
            }}
          />
        ) : <p class="nothing">{fields ? "There is no histogram of this layer here." : "Reading the histograms …"}</p>}
      </div>
      {one && <Side one={one} count={all.length} />}
    </div>
  );
}

/** Few enough steps to ask for, evenly spread, and the wanted one among them. */
export function spread(steps: number[], wanted: number | null): number[] {
  const every = Math.ceil(steps.length / MOST);
  const own = wanted === null ? null : nearest(steps, wanted);
  return steps.filter((one, at) => at % every === 0 || one === own || at === steps.length - 1);
}

function frames(width: number, several: boolean) {
  const narrow = width < 420;
  const bars = several ? (narrow ? 70 : 150) : Math.max(width - AXIS, 1);
  const strip = { left: AXIS, top: 2, width: several ? Math.max(width - AXIS - bars - 12, 1) : 0, height: HEIGHT - BELOW - 2 };
  const side = { left: several ? width - bars : AXIS, top: 2, width: bars, height: HEIGHT - BELOW - 2 };
  return { strip, side };
}

function useDrawn({ all, chosen, width, theme }: { all: Bars[]; chosen: number; width: number; theme: Theme }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => {
    const context = canvasOf(canvas.current, width, HEIGHT);
    if (!context || width < 120 || !all.length) return;
    const { strip, side } = frames(width, all.length > 1);
    const colours = palette();
    drawRidge(context, { all, chosen, strip, side, colours });
    context.fillStyle = colours.soft;
    context.textBaseline = "top";
    const y = strip.top + strip.height + 6;
    if (all.length > 1) {
      context.textAlign = "left";
      context.fillText(`step ${stepWords(all[0]?.step ?? 0)}`, strip.left, y);
      context.textAlign = "right";
      context.fillText(stepWords(all.at(-1)?.step ?? 0), strip.left + strip.width, y);
    }
    context.textAlign = "left";
    context.fillText(all.length > 1 ? `at step ${stepWords(all[chosen]?.step ?? 0)}` : "share of elements →", side.left, y);
  }, [all, chosen, width, theme]);
  return canvas;
}

function told(one: Bars): string {
  const middle = median(one);
  return [
    `Gradient elements at step ${stepWords(one.step)}`,
    middle === null ? "all exactly zero" : `half of those that are not zero lie below ${number(2 ** middle, 2)}`,
    `${percent(one.zero)} are exactly zero`,
    ...(one.overflow > 0 ? [`${percent(one.overflow)} lie beyond the last bar`] : []),
  ].join("; ");
}

function Side({ one, count }: { one: Bars; count: number }) {
  const middle = median(one);
  return (
    <div class="readings">
      <p class="at">step {stepWords(one.step)}{count > 1 ? `, one of ${count}` : ""}</p>
      <ul>
        <li><i /><b>{middle === null ? "none" : number(2 ** middle, 2)}</b><span>median, without zeros</span></li>
        <li><i /><b>{percent(one.zero)}</b><span>exactly zero</span></li>
        {one.overflow > 0 && <li><i /><b>{percent(one.overflow)}</b><span>beyond the last bar</span></li>}
      </ul>
    </div>
  );
}
