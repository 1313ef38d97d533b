// How large the gradients of a layer are: a recorded histogram in, bars out.
import type { FieldData } from "./data";

export interface Bars {
  step: number;
  /** Left edges in log2 of |gradient|, one more than there are bars. */
  edges: number[];
  /** Share of all elements in each bar. */
  shares: number[];
  /** Shares of exact zeros and of values beyond the last bar. */
  zero: number;
  overflow: number;
}

/**
 * Null where the field holds no elements. The bins' ticks are their left edges in log2;
 * the outer ones hold exact zeros and what lies beyond the last.
 */
export function bars(field: FieldData): Bars | null {
  const ticks = field.axes.at(-1)?.ticks ?? [];
  const counts = field.values.map((value) => value ?? 0);
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (ticks.length < 4 || counts.length !== ticks.length || total <= 0) return null;
  const inner = ticks.slice(1, -1).map(Number);
  if (!inner.every(Number.isFinite)) return null;
  const width = (inner[1] ?? 1) - (inner[0] ?? 0);
  return {
    step: field.step,
    edges: [...inner, (inner.at(-1) ?? 0) + width],
    shares: counts.slice(1, -1).map((count) => count / total),
    zero: (counts[0] ?? 0) / total,
    overflow: (counts.at(-1) ?? 0) / total,
  };
}

/** The bars that any of several histograms fills, with one bar of air on each side. */
export function filled(all: Bars[]): [number, number] {
  const [first] = all;
  if (!first) return [0, 0];
  const used = first.shares.flatMap((_, bar) => (all.some((one) => (one.shares[bar] ?? 0) > 0) ? [bar] : []));
  const low = used[0] ?? 0;
  const high = used.at(-1) ?? first.shares.length - 1;
  return [Math.max(low - 1, 0), Math.min(high + 2, first.shares.length)];
}

/** The edge, in log2, below which half of the elements that are not zero lie. */
export function median(one: Bars): number | null {
  const total = one.shares.reduce((sum, share) => sum + share, 0);
  if (total <= 0) return null;
  let sum = 0;
  for (const [bar, share] of one.shares.entries()) {
    if (share > 0 && sum + share >= total / 2) {
      const [from = 0, to = 0] = [one.edges[bar], one.edges[bar + 1]];
      return from + ((total / 2 - sum) / share) * (to - from);
    }
    sum += share;
  }
  return null;
}
