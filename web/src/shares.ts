// Whose updates change the loss: gradient · update of each layer in, shares out.
import { codeAt, type Grid, value } from "./grid";

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
  const rows = rowShares(grid);
  const means = rows.map((row) => mean(row, grid.edges));
  const largest = means.map((size, row) => ({ size, row }))
    .filter((one) => one.size > 0)
    .sort((a, b) => b.size - a.size);
  const kept = new Set(largest.slice(0, most).map((one) => one.row));
  const named = rows.flatMap((shares, row) =>
    kept.has(row) ? [{ name: names[row] ?? "", row, shares, mean: means[row] ?? 0 }] : []);
  if (largest.length <= most) return named;
  const rest = summed(rows.filter((_, row) => !kept.has(row)));
  return [...named, { name: OTHERS, row: null, shares: rest, mean: mean(rest, grid.edges) }];
}

function rowShares(grid: Grid): (number | null)[][] {
  const rows = Array.from({ length: grid.rows }, (_, row) =>
    Array.from({ length: grid.columns }, (_, column) => {
      const found = value(grid, codeAt(grid, row, column));
      return found === null ? null : Math.abs(found);
    }));
  for (let column = 0; column < grid.columns; column++) {
    const total = rows.reduce((sum, row) => sum + (row[column] ?? 0), 0);
    const told = Number.isFinite(total) && total > 0;
    for (const row of rows) row[column] = told ? (row[column] ?? 0) / total : null;
  }
  return rows;
}

function summed(rows: (number | null)[][]): (number | null)[] {
  return (rows[0] ?? []).map((first, column) =>
    first === null ? null : rows.reduce((sum, row) => sum + (row[column] ?? 0), 0));
}

/** Each column counts for as many steps as it stands for. */
function mean(shares: (number | null)[], edges: number[]): number {
  let sum = 0;
  let steps = 0;
  shares.forEach((share, column) => {
    if (share === null) return;
    const width = (edges[column + 1] ?? 0) - (edges[column] ?? 0);
    sum += share * width;
    steps += width;
  });
  return steps > 0 ? sum / steps : 0;
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
