// Words about a slice of the loss: what is told with its numbers in, sentences out.
import { number, percent, step } from "./format";
import type { Told } from "./land";

const GREEK = ["α", "β"];

/** A direction by its letter, what it is, and the share of the path that it holds. */
export function axisName({ directions, explained }: Pick<Told, "directions" | "explained">, at: 0 | 1): string {
  const name = directions[at] ? `: ${directions[at]}` : "";
  const share = explained[at];
  return `${GREEK[at]}${name}${share === undefined ? "" : `, ${percent(share)} of the path`}`;
}

/** How many points were computed, and how far off the others are. */
export function computed({ points, computed, error }: Pick<Told, "points" | "computed" | "error">): string {
  const all = step(points);
  if (computed >= points) return `All ${all} points were computed.`;
  const off = error ? `, error ${share(error.median)} median, ${share(error.p95)} p95 of the range` : "";
  return `${step(computed)} of ${all} points computed; elsewhere interpolated${off}.`;
}

/** How much of it is not finite; "" where all is. */
export function missing({ points, holes, quantity }: Pick<Told, "points" | "holes" | "quantity">): string {
  if (!holes) return "";
  return `${holes === 1 ? "1 point" : `${step(holes)} of ${step(points)} points`} without a ${quantity === "loss" ? "finite loss" : "value"}: hatched, not drawn over.`;
}

const MODES: Record<string, string> = { train: "in training mode", eval: "in evaluation mode" };

/** What the numbers are and how far they go. */
export function extent({ quantity, range: [low, high], mode }: Pick<Told, "quantity" | "range" | "mode">): string {
  const where = MODES[mode] ? `, ${MODES[mode]}` : "";
  if (quantity === "loss") return `Loss from ${number(low)} to ${number(high)}${where}.`;
  return `|λmin| / λmax from ${number(low)} to ${number(high)}${where}: near 0 hardly any direction curves downwards.`;
}

function share(part: number): string {
  return `${Number((100 * part).toPrecision(2))} %`;
}
