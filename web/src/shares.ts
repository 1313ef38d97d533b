// Whose updates change the loss: gradient · update of each layer in, shares out.
import { type Grid, value } from "./grid";

export interface Band {
  /** Name of the layer, or of all that are left over. */
  name: string;
  /** Row of the map; null for those left over. */
  row: number | null;
  /** One share a column, 0 to 1; null where nothing can be told. */
  shares: (number | null)[];
  /** Mean share over the steps. */
  mean: number;
}

export const OTHERS = "all others";

/**
 * Shares of |gradient · update| by layer, in the order of the net: they sum to 1 in
 * each column that has readings. The `most` largest bands keep their names.
 */
export function bands(grid: Grid, names: string[], most = 8): Band[] {
  const sizes = sizesOf(grid);
  const totals = totalsOf(sizes, grid);
  const widths = totals.map((total, column) =>
    (total > 0 ? (grid.edges[column + 1] ?? 0) - (grid.edges[column] ?? 0) : 0));
  const steps = widths.reduce((sum, width) => sum + width, 0);
  const means = Array.from({ length: grid.rows }, (_, row) => meanOf(sizes, totals, widths, row) / (steps || 1));
  const largest = means.map((size, row) => ({ size, row }))
    .filter((one) => one.size > 0)
    .sort((a, b) => b.size - a.size);
  const kept = largest.slice(0, most).map((one) => one.row).sort((a, b) => a - b);
  const named = kept.map((row) => ({
    name: names[row] ?? "", row, mean: means[row] ?? 0,
    shares: [...totals].map((total, column) => (total > 0 ? (sizes[row * grid.columns + column] ?? 0) / total : null)),
  }));
  if (largest.length <= most) return named;
  const rest = [...totals].map((total, column) =>
    (total > 0 ? Math.max(1 - named.reduce((sum, band) => sum + (band.shares[column] ?? 0), 0), 0) : null));
  const mean = largest.slice(most).reduce((sum, one) => sum + one.size, 0);
  return [...named, { name: OTHERS, row: null, shares: rest, mean }];
}

/** |value| of each cell; 0 where there is none, infinite where it overflowed. */
function sizesOf(grid: Grid): Float64Array {
  const known = new Float64Array(65536).fill(NaN); // by code: most maps hold few of them often
  return Float64Array.from(grid.codes, (code) => {
    let size = known[code] ?? 0;
    if (Number.isNaN(size)) {
      size = Math.abs(value(grid, code) ?? 0);
      known[code] = size;
    }
    return size;
  });
}

/** Sum of each column; 0 where nothing can be told. */
function totalsOf(sizes: Float64Array, { rows, columns }: Grid): Float64Array {
  const totals = new Float64Array(columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      totals[column] = (totals[column] as number) + (sizes[row * columns + column] as number);
    }
  }
  return totals.map((total) => (Number.isFinite(total) ? total : 0));
}

/** Sum of a row's shares, each counted for as many steps as its column stands for. */
function meanOf(sizes: Float64Array, totals: Float64Array, widths: Float64Array, row: number): number {
  let sum = 0;
  for (let column = 0; column < totals.length; column++) {
    const total = totals[column] as number;
    if (total > 0) sum += ((sizes[row * totals.length + column] as number) / total) * (widths[column] as number);
  }
  return sum;
}

/** Where each band begins and ends in a column, from 0 at the bottom to 1. */
export function stacked(found: Band[], column: number): [number, number][] {
  let top = 0;
  return found.map((band) => {
    const from = top;
    top += band.shares[column] ?? 0;
    return [from, top];
  });
}

/** Which band lies at a height of a column, 0 at the bottom to 1. */
export function bandAt(found: Band[], column: number, height: number): number | null {
  const at = stacked(found, column).findIndex(([from, to]) => height >= from && height < to);
  return at < 0 ? null : at;
}
