// Curvature beside the edge of stability: two recorded lines in, one panel out.
//
// The recorded number is the curvature along an update times the update's length;
// an update overshoots beyond 2. Divided by the learning rate it is the curvature
// itself, and its edge is 2 / learning rate, which moves with the schedule.
import type { LinePanel } from "./data";

export const EDGE = 2;

export interface Curvature {
  panel: LinePanel;
  /** Readings that a logarithmic scale cannot show. */
  negative: number;
}

/** Null where no reading has a learning rate above zero. */
export function curvature(sharpness: LinePanel, rate: LinePanel): Curvature | null {
  const steps = [...new Set([...sharpness.x, ...rate.x])].sort((a, b) => a - b);
  const rates = steps.map((step) => largestAt(rate, step));
  const places = new Map(sharpness.x.map((step, bin) => [step, bin]));
  const along = (values: (number | null)[] | undefined): (number | null)[] =>
    steps.map((step, at) => {
      const bin = places.get(step);
      const value = bin === undefined ? null : values?.[bin] ?? null;
      const lr = rates[at] ?? null;
      return value === null || lr === null ? null : value / lr;
    });
  const edge = rates.map((lr) => (lr === null ? null : EDGE / lr));
  const low = along(sharpness.low[0]);
  const known = low.filter((value): value is number => value !== null);
  if (!known.length) return null;
  const high = sharpness.high ? along(sharpness.high[0]) : null;
  return {
    negative: known.filter((value) => value <= 0).length,
    panel: {
      kind: "line", title: "Curvature and its edge", unit: "", log: true, x: steps,
      width: Math.max(sharpness.width, rate.width), y: ["along the update", "2 / learning rate"],
      low: [low, edge], high: high && [high, edge], marks: [],
    },
  };
}

/** The largest rate of all groups in the last bin at or before a step; null below or at zero. */
export function largestAt(rate: LinePanel, step: number): number | null {
  let bin = -1;
  let to = rate.x.length;
  while (to - bin > 1) {
    const middle = (bin + to) >> 1;
    if ((rate.x[middle] ?? Infinity) <= step) bin = middle;
    else to = middle;
  }
  const found = rate.low.map((row, line) => rate.high?.[line]?.[Math.max(bin, 0)] ?? row[Math.max(bin, 0)] ?? 0);
  const largest = Math.max(0, ...found);
  return largest > 0 ? largest : null;
}

/** How many readings lie beyond the edge, and of how many. */
export function beyond(sharpness: LinePanel): { beyond: number; of: number } {
  const top = (sharpness.high ?? sharpness.low)[0] ?? [];
  const known = top.filter((value): value is number => value !== null);
  return { beyond: known.filter((value) => value > EDGE).length, of: known.length };
}
