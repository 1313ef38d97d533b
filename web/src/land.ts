// A loss surface ready to draw: a recorded field in, heights on a square grid out.
import type { FieldData } from "./data";
import { numbersOf, pointsOf } from "./field";

export interface Land {
  /** Ticks of the two directions: columns run along alpha, rows along beta. */
  alpha: number[];
  beta: number[];
  /** Loss at [row * columns + column]; NaN where there is none. */
  loss: Float64Array;
  /** Smallest and largest finite loss. */
  range: [number, number];
  path: [number, number][];
  /** Shares of the path's spread along alpha and beta, if told. */
  explained: number[];
}

/** Null for a field that is no surface. */
export function landOf(field: FieldData): Land | null {
  const [alpha, beta] = field.axes.map((axis) => axis.ticks.map(Number));
  if (!alpha || !beta || alpha.length < 2 || beta.length < 2 || field.axes.length !== 2) return null;
  const loss = new Float64Array(alpha.length * beta.length).fill(NaN);
  let [low, high] = [Infinity, -Infinity];
  alpha.forEach((_, column) => beta.forEach((__, row) => {
    const value = field.values[column * beta.length + row];
    if (typeof value !== "number" || !Number.isFinite(value)) return;
    loss[row * alpha.length + column] = value;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }));
  if (low > high) return null;
  return {
    alpha, beta, loss, range: [low, high],
    path: pointsOf(field.about["path"]), explained: numbersOf(field.about["explained"]),
  };
}

/** A logarithmic scale needs losses above zero; it pays where they span decades. */
export function logarithmic({ range: [low, high] }: Land): { can: boolean; pays: boolean } {
  return { can: low > 0, pays: low > 0 && high / low > 30 };
}

/** Heights from 0 to 1 on the drawn scale. */
export function heights(land: Land, log: boolean): Float64Array {
  const scale = heightOf(land, log);
  return land.loss.map(scale);
}

export function heightOf(land: Land, log: boolean): (loss: number) => number {
  const drawn = (loss: number): number => (log ? Math.log10(loss) : loss);
  const [low, high] = land.range.map(drawn) as [number, number];
  return (loss) => (drawn(loss) - low) / (high - low || 1);
}

/** Fractional column (or row) of a place on an axis whose ticks ascend or descend. */
export function placeOn(ticks: number[], at: number): number {
  const first = ticks[0] ?? 0;
  const last = ticks.at(-1) ?? 1;
  const guess = ((at - first) / (last - first || 1)) * (ticks.length - 1);
  const cell = Math.min(Math.max(Math.floor(guess), 0), ticks.length - 2);
  const [from, to] = [ticks[cell] ?? 0, ticks[cell + 1] ?? 0];
  // Even ticks, as all of ours are, need no search.
  return guess >= 0 && guess <= ticks.length - 1 && to !== from ? cell + (at - from) / (to - from) : guess;
}

/** Loss between the grid's points; NaN outside and beside missing ones. */
export function between(values: ArrayLike<number>, columns: number, column: number, row: number): number {
  const rows = Math.floor(values.length / columns);
  if (column < 0 || row < 0 || column > columns - 1 || row > rows - 1) return NaN;
  const x = Math.min(Math.floor(column), columns - 2);
  const y = Math.min(Math.floor(row), rows - 2);
  const at = y * columns + x;
  const [u, v] = [column - x, row - y];
  const mixed = (a: number, b: number, share: number): number =>
    (share === 0 ? a : share === 1 ? b : a * (1 - share) + b * share);
  const top = mixed(values[at] ?? NaN, values[at + 1] ?? NaN, u);
  const bottom = mixed(values[at + columns] ?? NaN, values[at + columns + 1] ?? NaN, u);
  return mixed(top, bottom, v);
}

/** Losses to draw lines at: round, evenly spread on the drawn scale. */
export function levels({ range: [low, high] }: Land, log: boolean, count = 9): number[] {
  if (!log) return even(low, high, count);
  const [from, to] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const decades = Math.log10(high / low);
  const marks = decades > count ? [1] : decades > count / 2.4 ? [1, 3] : decades > 1 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 7];
  const all = Array.from({ length: to - from + 1 }, (_, at) => marks.map((mark) => mark * 10 ** (from + at))).flat();
  const inside = all.filter((level) => level > low && level < high);
  return inside.length >= 4 ? inside : even(low, high, count);
}

function even(low: number, high: number, count: number): number[] {
  const rough = (high - low) / count || 1;
  const ten = 10 ** Math.floor(Math.log10(rough));
  const gap = [1, 2, 2.5, 5, 10].map((one) => one * ten).find((one) => one >= rough) ?? 10 * ten;
  const first = Math.floor(low / gap) + 1;
  const length = Math.max(Math.ceil(high / gap) - first, 0);
  return Array.from({ length }, (_, at) => Number(((first + at) * gap).toPrecision(12)));
}
