// The step axis that all tracks share: a range in, round steps and their labels out.
import type { Range } from "./link";

export const FONT = '11px "Inter", "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';
export const AXIS_HEIGHT = 26;

export interface StepAxis {
  range: Range;
  left: number;
  width: number;
  /** Where the axis begins, below the picture. */
  top: number;
  onset: number | null;
  soft: string;
  alarm: string;
}

/** Round steps inside a range, about as many as asked for. */
export function round([low, high]: Range, count: number): number[] {
  const rough = Math.max((high - low) / count, 1);
  const ten = 10 ** Math.floor(Math.log10(rough));
  const gap = [1, 2, 5, 10].map((one) => one * ten).find((one) => one >= rough) ?? 10 * ten;
  const first = Math.ceil(low / gap) * gap;
  return Array.from({ length: Math.floor((high - first) / gap) + 1 }, (_, index) => first + index * gap);
}

/** Labels that neither leave the axis nor touch; the onset's own comes first. */
export function drawSteps(context: CanvasRenderingContext2D, axis: StepAxis): void {
  const { range, left, width, top, onset } = axis;
  context.save();
  context.textBaseline = "top";
  context.textAlign = "center";
  const taken: [number, number][] = [];
  const marked = onset !== null && onset >= range[0] && onset <= range[1] ? [onset] : [];
  const others = round(range, Math.max(Math.floor(width / 90), 2)).filter((step) => step !== onset);
  for (const step of [...marked, ...others]) {
    const own = step === onset;
    const x = left + ((step - range[0]) / (range[1] - range[0])) * width;
    context.font = own ? `600 ${FONT}` : FONT;
    context.fillStyle = own ? axis.alarm : axis.soft;
    const label = step.toLocaleString("en-US");
    const half = context.measureText(label).width / 2;
    const at = Math.max(Math.min(x, left + width - half), left - 8 + half * 0.4);
    if (taken.some(([from, to]) => at + half + 8 > from && at - half - 8 < to)) continue;
    taken.push([at - half, at + half]);
    context.fillRect(x - 0.5, top, 1, own ? 6 : 4);
    context.fillText(label, at, top + 8);
  }
  context.restore();
}
