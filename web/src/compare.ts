// Lines of many runs on one step axis: lines with bins of their own in, shared ones out.
import type { Comparison, LinePanel } from "./data";
import { startOfBin } from "./bins";
import type { Range } from "./link";

type Line = Comparison["lines"][number];

/** Most bins of the shared axis: about one for each pixel of a chart. */
const BINS = 1_000;

/** First to last step of all lines, and never empty. */
export function extentOf(lines: Line[]): Range {
  const low = Math.min(...lines.map((line) => line.x[0] ?? Infinity));
  const high = Math.max(...lines.map((line) => line.x[line.x.length - 1] ?? -Infinity));
  return low <= high ? [low, high + 1] : [0, 1];
}

type Shared = Pick<LinePanel, "x" | "width" | "low"> & { high: LinePanel["low"] };

/**
 * All lines in shared bins, which are narrower the less of the axis is in view.
 * The highest and the lowest value of a bin stay; a line without one has null.
 */
export function aligned(lines: Line[], range: Range): Shared {
  const width = 2 ** Math.max(Math.ceil(Math.log2((range[1] - range[0]) / BINS)), 0);
  const starts = new Set<number>();
  for (const line of lines) line.x.forEach((step) => starts.add(startOfBin(step, width)));
  const x = [...starts].sort((a, b) => a - b);
  const place = new Map(x.map((start, at) => [start, at]));
  const spread = (line: Line, of: "low" | "high", choose: (a: number, b: number) => number) => {
    const values = new Array<number | null>(x.length).fill(null);
    line.x.forEach((step, at) => {
      const bin = place.get(startOfBin(step, width)) ?? 0;
      const value = line[of][at] ?? null;
      const held = values[bin] ?? null;
      if (value !== null) values[bin] = held === null ? value : choose(held, value);
    });
    return values;
  };
  return {
    x, width,
    low: lines.map((line) => spread(line, "low", Math.min)),
    high: lines.map((line) => spread(line, "high", Math.max)),
  };
}

/** The last number of a line; null of one without numbers. */
export function lastOf(line: Line): number | null {
  return line.high.filter((value) => value !== null).at(-1) ?? null;
}

/** The share of values that a logarithmic scale can show. */
export function positive(lines: Line[]): number {
  const numbers = lines.flatMap((line) => line.low).filter((value) => value !== null);
  return numbers.filter((value) => value > 0).length / Math.max(numbers.length, 1);
}

/** Whether a few high values would flatten the rest: as for single lines, 50 times the median. */
export function wide(lines: Line[]): boolean {
  const numbers = lines.flatMap((line) => line.high).filter((value) => value !== null).sort((a, b) => a - b);
  return (numbers[numbers.length - 1] ?? 0) > 50 * (numbers[numbers.length >> 1] ?? Infinity);
}

const DASHES: number[][] = [[], [7, 4], [2, 3], [10, 3, 2, 3], [14, 5]];

/** Colour and dashes of a line: neighbours differ in colour, colours that return in dashes. */
export function strokeOf(index: number, colours: string[]): { colour: string; dash: number[] } {
  return {
    colour: colours[index % colours.length] ?? "",
    dash: DASHES[Math.floor(index / colours.length) % DASHES.length] ?? [],
  };
}
