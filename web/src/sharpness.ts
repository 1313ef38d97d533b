// Curvature beside the edge of stability: recorded lines in, panels out.
//
// Sharpness is the largest eigenvalue of the Hessian, where it was tracked; else there is
// what the optimizer felt: the recorded number is the curvature along an update times the update's length;
// an update overshoots beyond 2. Divided by the learning rate it is the curvature
// itself, and its edge is 2 / learning rate, which moves with the schedule.
import type { LinePanel, StreamData } from "./data";
import { number } from "./format";

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

/** Panels that are drawn together, as one chart of the sharpness. */
export const TRACKED: readonly string[] = [
  "sharpness", "sharpness_error", "sharpness_sampling_error", "preconditioned_sharpness", "stability_ratio",
];

const BAND = "on other rows";

/** The line is drawn where it is at most so many times the largest reading. */
const FAR = 30;

/** Readings so many times apart need a logarithmic scale. */
const WIDE = 30;

export interface Tracked {
  panel: LinePanel;
  /** Which of the lines is the band around the sharpness; null where there is none. */
  band: number | null;
  /** Whether the optimizer scales its steps, so that the scaled curvature is held against the line. */
  scaled: boolean;
  /** Readings beyond the line, and of how many; null where the line is not known. */
  count: { beyond: number; of: number } | null;
  /** What sampling may be off by, as a share of the sharpness; null where it was not measured. */
  sampling: number | null;
}

/** The tracked sharpness beside the line of its optimizer; null where it was not tracked. */
export function tracked(panels: StreamData["panels"]): Tracked | null {
  const sharpness = lineOf(panels, "sharpness");
  if (!sharpness) return null;
  const scaled = lineOf(panels, "preconditioned_sharpness");
  const ratio = lineOf(panels, "stability_ratio");
  const rate = lineOf(panels, "lr");
  const held = scaled ?? sharpness;
  const factor = ratio && rate ? factorOf(held, ratio, rate) : null;
  const steps = stepsOf([sharpness, held, ...(factor !== null && rate ? [rate] : [])]);
  const sampling = samplingOf(sharpness, lineOf(panels, "sharpness_sampling_error"));
  const error = lineOf(panels, "sharpness_error");
  const off = placed(sharpness, steps).map((value, at) =>
    value === null ? null : (sampling ?? 0) * Math.abs(value) + (error ? placed(error, steps)[at] ?? 0 : 0));
  const lines: Line[] = [exact("sharpness", placed(sharpness, steps))];
  if (scaled) lines.unshift(exact("preconditioned", placed(scaled, steps)));
  if (factor !== null && rate) {
    const most = FAR * Math.max(...placed(held, steps).map((value) => value ?? 0));
    const edge = steps.map((step) => seen(factor, largestAt(rate, step), most));
    lines.splice(1, 0, exact(`${number(factor)} / learning rate`, edge));
  }
  const band = sampling === null ? null : lines.length;
  const [low, high] = [shifted(placed(sharpness, steps), off, -1), shifted(placed(sharpness, steps, true), off, 1)];
  if (band !== null) lines.push({ name: BAND, low, high });
  return { panel: panelOf(steps, lines), band, scaled: scaled !== null, count: ratio && past(ratio), sampling };
}

/** The line, where it is not far above all readings: at the end of a schedule it goes to infinity. */
function seen(factor: number, lr: number | null, most: number): number | null {
  const edge = lr === null ? null : factor / lr;
  return edge !== null && edge <= most ? edge : null;
}

interface Line { name: string; low: (number | null)[]; high: (number | null)[] }

function exact(name: string, low: (number | null)[]): Line {
  return { name, low, high: low };
}

function lineOf(panels: StreamData["panels"], name: string): LinePanel | null {
  const panel = panels[name];
  return panel?.kind === "line" && panel.x.length ? panel : null;
}

function stepsOf(panels: LinePanel[]): number[] {
  return [...new Set(panels.flatMap((panel) => panel.x))].sort((a, b) => a - b);
}

/** The readings of a panel's only line at some steps, null between them. */
function placed(panel: LinePanel, steps: number[], top = false): (number | null)[] {
  const places = new Map(panel.x.map((step, bin) => [step, bin]));
  const row = (top ? panel.high ?? panel.low : panel.low)[0] ?? [];
  return steps.map((step) => { const bin = places.get(step); return bin === undefined ? null : row[bin] ?? null; });
}

function shifted(values: (number | null)[], by: (number | null)[], sign: number): (number | null)[] {
  return values.map((value, at) => (value === null ? null : value + sign * (by[at] ?? 0)));
}

/** The line times the learning rate: 2 for plain descent, 38 for Adam; the same at all steps. */
function factorOf(held: LinePanel, ratio: LinePanel, rate: LinePanel): number | null {
  const found = held.x.flatMap((step, bin) => {
    const value = held.low[0]?.[bin] ?? null;
    const over = placed(ratio, [step])[0] ?? null;
    const lr = largestAt(rate, step);
    return value === null || over === null || over === 0 || lr === null ? [] : [(value / over) * lr];
  }).sort((a, b) => a - b);
  return found[found.length >> 1] ?? null;
}

/** The last error by sampling that was measured, as a share of the sharpness then. */
function samplingOf(sharpness: LinePanel, error: LinePanel | null): number | null {
  for (let bin = (error?.x.length ?? 0) - 1; error && bin >= 0; bin--) {
    const off = error.low[0]?.[bin] ?? null;
    const value = placed(sharpness, [error.x[bin] ?? -1])[0] ?? null;
    if (off !== null && value !== null && value !== 0) return Math.abs(off / value);
  }
  return null;
}

function past(ratio: LinePanel): { beyond: number; of: number } {
  const known = ((ratio.high ?? ratio.low)[0] ?? []).filter((value): value is number => value !== null);
  return { beyond: known.filter((value) => value > 1).length, of: known.length };
}

function panelOf(steps: number[], lines: Line[]): LinePanel {
  const known = lines.flatMap((line) => line.low).filter((value): value is number => value !== null);
  const wide = Math.max(...known) > WIDE * Math.min(...known);
  return {
    kind: "line", title: "Sharpness", unit: "", log: wide && known.every((value) => value > 0), x: steps, width: 1,
    y: lines.map((line) => line.name), low: lines.map((line) => line.low), high: lines.map((line) => line.high), marks: [],
  };
}
