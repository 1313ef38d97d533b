// A loss surface ready to draw: a recorded field in, heights on a square grid out.
import type { FieldData } from "./data";
import { numbersOf, pointsOf } from "./field";

/** What is told with the numbers of a slice, of one direction or of two. */
export interface Told {
  /** What the numbers are: a loss, or |λmin| / λmax. */
  quantity: "loss" | "convexity";
  /** Smallest and largest finite number. */
  range: [number, number];
  /** Points of the grid, those without a finite number, and those computed. */
  points: number;
  holes: number;
  computed: number;
  /** Error of the others as shares of the range, if it was estimated. */
  error: { median: number; p95: number } | null;
  /** Shares of the path's spread along alpha and beta, if told. */
  explained: number[];
  /** What the directions are, if told. */
  directions: string[];
  mode: string;
}

export interface Land extends Told {
  /** Ticks of the two directions: columns run along alpha, rows along beta. */
  alpha: number[];
  beta: number[];
  /** Loss at [row * columns + column]; NaN where there is none. */
  loss: Float64Array;
  path: [number, number][];
  marks: { at: [number, number]; label: string }[];
  /** [column, row] of what was computed; empty where all of it was. */
  dots: [number, number][];
}

/** Null for a field that is no surface. */
export function landOf(field: FieldData): Land | null {
  const [alpha, beta] = field.axes.map((axis) => axis.ticks.map(Number));
  if (!alpha || !beta || alpha.length < 2 || beta.length < 2 || field.axes.length !== 2) return null;
  const loss = new Float64Array(alpha.length * beta.length).fill(NaN);
  alpha.forEach((_, column) => beta.forEach((__, row) => {
    const value = field.values[column * beta.length + row];
    if (typeof value === "number" && Number.isFinite(value)) loss[row * alpha.length + column] = value;
  }));
  const told = toldOf(field, loss);
  if (!told) return null;
  const dots = pointsOf(field.about["evaluated"]).filter(([column, row]) => column in alpha && row in beta);
  return {
    ...told, alpha, beta, loss, path: pointsOf(field.about["path"]),
    computed: dots.length || told.points, dots: dots.length < told.points ? dots : [],
    marks: marksOf(field).flatMap(({ at: [a, b], label }) => (b === undefined ? [] : [{ at: [a, b] as [number, number], label }])),
  };
}

/** Null where there is no number at all. */
export function toldOf({ kind, about }: FieldData, values: ArrayLike<number>): Told | null {
  let [low, high, holes] = [Infinity, -Infinity, 0];
  for (let at = 0; at < values.length; at++) {
    const value = values[at] as number;
    if (Number.isNaN(value)) holes++;
    else [low, high] = [Math.min(low, value), Math.max(high, value)];
  }
  if (low > high) return null;
  const error = (about["error"] ?? {}) as Record<string, unknown>;
  const [median, p95] = [error["median"], error["p95"]];
  return {
    quantity: kind === "convexity" ? "convexity" : "loss", range: [low, high], points: values.length, holes,
    computed: values.length, explained: numbersOf(about["explained"]),
    error: typeof median === "number" && typeof p95 === "number" ? { median, p95 } : null,
    directions: textsOf(about["directions"]), mode: typeof about["mode"] === "string" ? about["mode"] : "",
  };
}

function textsOf(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((one): one is string => typeof one === "string") : [];
}

/** Named places, such as checkpoints; what has no place is left out. */
export function marksOf({ about }: FieldData): { at: [number, number | undefined]; label: string }[] {
  const told: unknown = about["marks"];
  if (!Array.isArray(told)) return [];
  return told.flatMap((one: unknown) => {
    const { at, label } = (one ?? {}) as { at?: unknown; label?: unknown };
    const [a, b] = typeof at === "number" ? [at] : numbersOf(at);
    return a === undefined ? [] : [{ at: [a, b] as [number, number | undefined], label: typeof label === "string" ? label : "" }];
  });
}

/** A logarithmic scale needs losses above zero; it pays where they span decades. */
export function logarithmic({ range: [low, high] }: Pick<Told, "range">): { can: boolean; pays: boolean } {
  return { can: low > 0, pays: low > 0 && high / low > 30 };
}

/** Heights from 0 to 1 on the drawn scale. */
export function heights(land: Land, log: boolean): Float64Array {
  const scale = heightOf(land, log);
  return land.loss.map(scale);
}

export function heightOf(land: Pick<Told, "range">, log: boolean): (loss: number) => number {
  const drawn = (loss: number): number => (log ? Math.log10(loss) : loss);
  const [low, high] = land.range.map(drawn) as [number, number];
  return (loss) => (drawn(loss) - low) / (high - low || 1);
}

/** The loss that is drawn at a height. */
export function lossOf(land: Pick<Told, "range">, log: boolean): (height: number) => number {
  const [low, high] = log ? land.range.map(Math.log10) as [number, number] : land.range;
  return (height) => (log ? 10 ** (low + (high - low) * height) : low + (high - low) * height);
}

/** Heights on a finer grid, to be drawn. */
export interface Relief {
  heights: Float64Array;
  columns: number;
  /** Fine cells in a cell of the land. */
  times: number;
}

const CELLS = 80; // along the longer side: finer than lines of a map show

export function reliefOf(land: Land, log: boolean): Relief {
  const [columns, rows] = [land.alpha.length, land.beta.length];
  const times = Math.max(Math.floor(CELLS / (Math.max(columns, rows) - 1)), 1);
  const high = heights(land, log);
  const wide = (columns - 1) * times + 1;
  const tall = (rows - 1) * times + 1;
  const along = new Float64Array(wide * rows);
  for (let row = 0; row < rows; row++) along.set(finer(high.subarray(row * columns, (row + 1) * columns), times), row * wide);
  const out = new Float64Array(wide * tall);
  for (let column = 0; column < wide; column++) {
    const line = finer(Float64Array.from({ length: rows }, (_, row) => along[row * wide + column] as number), times);
    line.forEach((height, row) => { out[row * wide + column] = height; });
  }
  return { heights: out, columns: wide, times };
}

const STEEPEST = 3; // times the lesser rise beside a point (Fritsch and Carlson, 1980)

/**
 * A smooth line through points: cubic pieces with the slopes of their neighbours, limited
 * so that a cliff makes no ripples. Beside a missing point there is no line.
 */
export function finer(line: Float64Array, times: number): Float64Array {
  const count = line.length;
  if (times === 1) return line.slice();
  const rise = (at: number): number => (line[at + 1] ?? NaN) - (line[at] ?? NaN);
  const slope = (at: number): number => {
    const [before, after] = [rise(at - 1), rise(at)];
    if (Number.isNaN(before)) return after;
    if (Number.isNaN(after)) return before;
    const limit = STEEPEST * Math.min(Math.abs(before), Math.abs(after));
    return Math.min(Math.max((before + after) / 2, -limit), limit);
  };
  const out = new Float64Array((count - 1) * times + 1);
  for (let at = 0; at + 1 < count; at++) {
    const [from, to] = [line[at] as number, line[at + 1] as number];
    const [start, end] = [slope(at), slope(at + 1)];
    out[at * times] = from;
    for (let part = 1; part < times; part++) {
      const t = part / times;
      const u = 1 - t;
      out[at * times + part] = u * u * ((1 + 2 * t) * from + t * start) + t * t * ((1 + 2 * u) * to - u * end);
    }
  }
  out[(count - 1) * times] = line[count - 1] as number;
  return out;
}

/** Cells of the grid with a corner that has no number: [column, row] of the first. */
export function holesOf(land: Land): [number, number][] {
  const [columns, rows] = [land.alpha.length, land.beta.length];
  const missing = (column: number, row: number): boolean => Number.isNaN(land.loss[row * columns + column] ?? NaN);
  const out: [number, number][] = [];
  if (!land.holes) return out;
  for (let row = 0; row + 1 < rows; row++) {
    for (let column = 0; column + 1 < columns; column++) {
      if ([[0, 0], [1, 0], [0, 1], [1, 1]].some(([x = 0, y = 0]) => missing(column + x, row + y))) out.push([column, row]);
    }
  }
  return out;
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
export function levels({ range: [low, high] }: Pick<Told, "range">, log: boolean, count = 9): number[] {
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
