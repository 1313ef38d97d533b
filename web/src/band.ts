// The span between lows and highs of a line chart: a plot and its panel in, pixels out.
//
// Where bins are as dense as pixels the span is drawn pixel by pixel: filling one
// shape of thousands of corners costs a screen without a graphics card a whole frame.
import type uPlot from "uplot";
import { countBefore } from "./bins";

type Values = ArrayLike<number | null | undefined>;

export interface Band {
  plot: uPlot;
  /** Bins from `first` up to and without `last` are in view. */
  first: number;
  last: number;
  low: Values;
  high: Values;
  fill: string;
}

/**
 * Fills the span of each line; `fills` are their colours, "" for none. With `across`
 * bins without a number are passed over, else they are gaps.
 */
export function drawBands(plot: uPlot, fills: string[], across = false): void {
  const x = plot.data[0];
  const { min = 0, max = 1 } = plot.scales["x"] ?? {};
  const first = Math.max(countBefore(x as number[], min) - 1, 0);
  const last = Math.min(countBefore(x as number[], max) + 1, x.length);
  const { left, top, width, height } = plot.bbox;
  plot.ctx.save();
  plot.ctx.beginPath();
  plot.ctx.rect(left, top, width, height);
  plot.ctx.clip();
  fills.forEach((fill, line) => {
    const [low, high] = [plot.data[2 * line + 1], plot.data[2 * line + 2]];
    if (!fill || !low || !high) return;
    const band = { plot, first, last, low, high, fill };
    const parts = stretches(band, across);
    const count = parts.reduce((sum, part) => sum + part.length, 0);
    if (count > width / 2) pixelByPixel(band);
    else parts.forEach((part) => shape(band, part));
  });
  plot.ctx.restore();
}

function pixelByPixel({ plot, first, last, low, high, fill }: Band): void {
  const x = plot.data[0];
  plot.ctx.fillStyle = fill;
  let column = NaN;
  let [bottom, top] = [Infinity, -Infinity];
  const flush = (): void => {
    if (bottom > top) return;
    const y = plot.valToPos(top, "y", true);
    plot.ctx.fillRect(column, y, 1, Math.max(plot.valToPos(bottom, "y", true) - y, 0));
  };
  for (let at = first; at < last; at++) {
    const pixel = Math.round(plot.valToPos(x[at] ?? 0, "x", true));
    if (pixel !== column) {
      flush();
      column = pixel;
      [bottom, top] = [Infinity, -Infinity];
    }
    const [from, to] = [low[at], high[at]];
    if (from === null || from === undefined || to === null || to === undefined) continue;
    bottom = Math.min(bottom, from);
    top = Math.max(top, to);
  }
  flush();
}

/** Bins with numbers, parted at the gaps. */
function stretches({ first, last, low, high }: Band, across: boolean): number[][] {
  const parts: number[][] = [[]];
  for (let at = first; at < last; at++) {
    const part = parts[parts.length - 1] as number[];
    if (known(low[at]) && known(high[at])) part.push(at);
    else if (!across && part.length) parts.push([]);
  }
  return parts;
}

/** Along the highs, back along the lows. */
function shape({ plot, low, high, fill }: Band, bins: number[]): void {
  const { ctx } = plot;
  const corner = (at: number, values: Values): void =>
    ctx.lineTo(plot.valToPos(plot.data[0][at] ?? 0, "x", true), plot.valToPos(values[at] ?? 0, "y", true));
  ctx.fillStyle = fill;
  ctx.beginPath();
  bins.forEach((at) => corner(at, high));
  [...bins].reverse().forEach((at) => corner(at, low));
  ctx.fill();
}

function known(value: number | null | undefined): boolean {
  return value !== null && value !== undefined;
}
