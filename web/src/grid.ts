// A heat-map's numbers: packed rows in, one block of 16-bit codes out.
import type { HeatPanel } from "./data";

/** Codes 0 to TOP run linearly over the panel's range, on the drawn scale. */
export const TOP = 65000;
export const ZERO = 65533; // exactly zero, which a logarithmic scale cannot show
export const INFINITE = 65534;
export const MISSING = 65535; // no reading, or not a number

export interface Grid {
  steps: number[];
  /** edges[j] to edges[j + 1] are the steps that column j stands for. */
  edges: number[];
  rows: number;
  columns: number;
  codes: Uint16Array;
  range: [number, number];
  log: boolean;
}

export function unpack(panel: HeatPanel): Grid {
  const rows = panel.y.length;
  const columns = panel.x.length;
  const codes = new Uint16Array(rows * columns).fill(MISSING);
  panel.cells.forEach((cell, row) => {
    const bytes = atob(cell);
    for (let column = 0; column < Math.min(columns, bytes.length >> 1); column++) {
      const low = bytes.charCodeAt(2 * column);
      codes[row * columns + column] = low + 256 * bytes.charCodeAt(2 * column + 1);
    }
  });
  return {
    steps: panel.x,
    edges: columnEdges(panel.x),
    rows,
    columns,
    codes,
    range: panel.range,
    log: panel.log,
  };
}

export function codeAt(grid: Grid, row: number, column: number): number {
  return grid.codes[row * grid.columns + column] ?? MISSING;
}

/** A code on the drawn scale (log10 where the panel is logarithmic), or null. */
export function drawn(grid: Grid, code: number): number | null {
  if (code > TOP) return null;
  const [low, high] = grid.range;
  return low + ((high - low) * code) / TOP;
}

/** The value itself: null without a number, Infinity where it overflowed. */
export function value(grid: Grid, code: number): number | null {
  if (code === ZERO) return 0;
  if (code === INFINITE) return Infinity;
  const scaled = drawn(grid, code);
  if (scaled === null) return null;
  return grid.log ? 10 ** scaled : scaled;
}

/** The column that holds a step: the last one that starts at or before it. */
export function columnAt(grid: Grid, step: number): number {
  let low = 0;
  let high = grid.columns - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((grid.edges[middle] ?? Infinity) <= step) low = middle;
    else high = middle - 1;
  }
  return low;
}

export function rowValues(grid: Grid, row: number): (number | null)[] {
  const out: (number | null)[] = [];
  for (let column = 0; column < grid.columns; column++) {
    const number = value(grid, codeAt(grid, row, column));
    out.push(number === Infinity ? null : number);
  }
  return out;
}

function columnEdges(steps: number[]): number[] {
  const gaps = steps.slice(1).map((step, index) => step - (steps[index] ?? 0));
  gaps.sort((a, b) => a - b);
  const usual = gaps[gaps.length >> 1] ?? 1;
  const last = steps[steps.length - 1] ?? 0;
  return [...steps, last + usual];
}
