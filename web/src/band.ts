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

/** Fills the span of each line; `fills` are their colours, "" for none. */
export function drawBands(plot: uPlot, fills: string[]): void {
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
    if (last - first > width / 2) pixelByPixel(band);
    else shape(band);
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

/** One shape for each stretch without a gap: along the highs, back along the lows. */
function shape({ plot, first, last, low, high, fill }: Band): void {
  const { ctx } = plot;
  ctx.fillStyle = fill;
  const corner = (at: number, values: Values): void =>
    ctx.lineTo(plot.valToPos(plot.data[0][at] ?? 0, "x", true), plot.valToPos(values[at] ?? 0, "y", true));
  for (let at = first; at < last; at++) {
    const start = at;
    while (at < last && known(low[at]) && known(high[at])) at++;
    if (at === start) continue;
    ctx.beginPath();
    for (let one = start; one < at; one++) corner(one, high);
    for (let one = at - 1; one >= start; one--) corner(one, low);
    ctx.fill();
  }
}

function known(value: number | null | undefined): boolean {
  return value !== null && value !== undefined;
}
