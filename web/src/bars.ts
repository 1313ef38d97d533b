// Drawing histograms: bars in, a strip over steps and one of them on its side out.
import { css, viridis } from "./colours";
import { superscript } from "./format";
import type { Frame } from "./heat";
import { type Bars, filled } from "./histogram";
import { FONT } from "./steps";
import { faded, type Palette } from "./theme";

export interface Ridge {
  all: Bars[];
  /** Which of them is looked at. */
  chosen: number;
  strip: Frame;
  side: Frame;
  colours: Palette;
}

const LOG2_10 = Math.log2(10);

/** Where a magnitude (in log2) lies: small ones at the bottom. */
function yOf([low, high]: [number, number], frame: Frame): (log2: number) => number {
  return (log2) => frame.top + frame.height * (1 - (log2 - low) / (high - low || 1));
}

/** The magnitudes that are drawn, in log2. */
export function reach(all: Bars[]): [number, number] {
  const [from, to] = filled(all);
  const edges = all[0]?.edges ?? [];
  return [edges[from] ?? 0, edges[to] ?? 1];
}

export function drawRidge(context: CanvasRenderingContext2D, ridge: Ridge): void {
  const { all, chosen, strip, side, colours } = ridge;
  const range = reach(all);
  const most = Math.max(...all.flatMap((one) => one.shares), 1e-9);
  drawMagnitudes(context, ridge, range);
  if (strip.width > 0) {
    all.forEach((one, at) => drawColumn(context, { one, at, most, range, ridge }));
    const width = strip.width / all.length;
    const x = strip.left + chosen * width;
    for (const [thick, colour] of [[3, "#111111"], [1.4, "#ffffff"]] as const) {
      context.lineWidth = thick;
      context.strokeStyle = colour;
      context.strokeRect(x + 0.75, strip.top + 0.75, Math.max(width - 1.5, 1), strip.height - 1.5);
    }
  }
  const one = all[chosen];
  if (!one) return;
  const own = Math.max(...one.shares, 1e-9);
  const at = yOf(range, side);
  context.fillStyle = faded(colours.lines[0] ?? colours.ink, 0.75);
  one.shares.forEach((share, bar) => {
    if (share <= 0) return;
    const [bottom, top] = [at(one.edges[bar] ?? 0), at(one.edges[bar + 1] ?? 0)];
    context.fillRect(side.left, top + 0.5, Math.max((share / own) * side.width, 1), Math.max(bottom - top - 1, 0.75));
  });
  context.fillStyle = colours.edge;
  context.fillRect(side.left - 1, side.top, 1, side.height);
}

interface Column {
  one: Bars;
  at: number;
  most: number;
  range: [number, number];
  ridge: Ridge;
}

/** One recorded step; the more elements, the lighter. */
function drawColumn(context: CanvasRenderingContext2D, { one, at, most, range, ridge }: Column): void {
  const { strip } = ridge;
  const width = strip.width / ridge.all.length;
  const left = Math.round(strip.left + at * width);
  const right = Math.round(strip.left + (at + 1) * width);
  const y = yOf(range, strip);
  one.shares.forEach((share, bar) => {
    if (share <= 0) return;
    const [bottom, top] = [Math.round(y(one.edges[bar] ?? 0)), Math.round(y(one.edges[bar + 1] ?? 0))];
    if (top < strip.top - 1 || bottom > strip.top + strip.height + 1) return;
    context.fillStyle = css(viridis(Math.sqrt(share / most)));
    context.fillRect(left, top, right - left - (width > 8 ? 1 : 0), bottom - top);
  });
}

/** Powers of ten, though the bars are powers of two: that is how one reads them. */
function drawMagnitudes(context: CanvasRenderingContext2D, { strip, side, colours }: Ridge, range: [number, number]): void {
  const frame = strip.width > 0 ? strip : side;
  const y = yOf(range, frame);
  const [low, high] = [Math.ceil(range[0] / LOG2_10), Math.floor(range[1] / LOG2_10)];
  const every = Math.max(Math.ceil((high - low + 1) / (frame.height / 24)), 1);
  context.font = FONT;
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (let power = low; power <= high; power++) {
    const at = Math.round(y(power * LOG2_10));
    context.fillStyle = colours.grid;
    if (strip.width > 0) context.fillRect(strip.left, at, strip.width, 1);
    context.fillRect(side.left, at, side.width, 1);
    context.fillStyle = colours.soft;
    if ((power - low) % every === 0) context.fillText(`10${superscript(power)}`, frame.left - 6, at);
  }
}
