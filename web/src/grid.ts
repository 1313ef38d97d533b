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
  /** The same cells so that the highest of several is the largest number. */
  ranks: Uint16Array;
  range: [number, number];
  log: boolean;
}

export function unpack(panel: HeatPanel): Grid {
  const codes = codesOf(panel);
  return {
    steps: panel.x,
    edges: columnEdges(panel.x),
    rows: panel.y.length,
    columns: panel.x.length,
    codes,
    ranks: ranksOf(codes),
    range: panel.range,
    log: panel.log,
  };
}

/** All codes of a map, row by row; what the data lacks is MISSING. */
export function codesOf(panel: HeatPanel): Uint16Array {
  if (panel.cells instanceof Uint16Array) return panel.cells;
  const codes = new Uint16Array(panel.y.length * panel.x.length).fill(MISSING);
  codes.set(littleEndian(bytesOf(panel.cells)).subarray(0, codes.length));
  return codes;
}

interface Base64 {
  fromBase64?: (text: string) => Uint8Array;
}

function bytesOf(text: string): Uint8Array {
  const native = (Uint8Array as unknown as Base64).fromBase64;
  if (native) return native.call(Uint8Array, text);
  const signs = atob(text);
  const bytes = new Uint8Array(signs.length);
  for (let at = 0; at < signs.length; at++) bytes[at] = signs.charCodeAt(at);
  return bytes;
}

const LITTLE = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

function littleEndian(bytes: Uint8Array): Uint16Array {
  if (LITTLE && bytes.byteOffset % 2 === 0) return new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length >> 1);
  const codes = new Uint16Array(bytes.length >> 1);
  for (let at = 0; at < codes.length; at++) {
    codes[at] = (bytes[2 * at] ?? 0) | ((bytes[2 * at + 1] ?? 0) << 8);
  }
  return codes;
}

/** Codes in an order that numbers have: absent 0, zero 1, the scale upwards, overflow. */
export function rank(code: number): number {
  if (code <= TOP) return code + 2;
  if (code === ZERO) return 1;
  return code === INFINITE ? OVERFLOW : 0;
}

const OVERFLOW = 65535;

/** The code of a rank. */
export function ofRank(rank: number): number {
  if (rank === 0) return MISSING;
  if (rank === 1) return ZERO;
  return rank === OVERFLOW ? INFINITE : rank - 2;
}

function ranksOf(codes: Uint16Array): Uint16Array {
  const ranks = new Uint16Array(codes.length);
  for (let at = 0; at < codes.length; at++) ranks[at] = rank(codes[at] as number);
  return ranks;
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
