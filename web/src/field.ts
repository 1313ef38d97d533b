// Fields: numbers over axes at one step in, the part that is to be drawn out.
import type { FieldData, FieldOffer, StreamData } from "./data";

/** The recorded field nearest to a step; of one layer, if that is named. */
export type AskField = (
  kind: string, stream: string, step: number, layer: string | null, title?: string,
) => Promise<FieldData | null>;

/** The last of these steps at or before a step, else the first; null of none. */
export function nearest(steps: number[], step: number): number | null {
  return steps.filter((one) => one <= step).at(-1) ?? steps[0] ?? null;
}

export function offerOf(stream: StreamData, kind: string): FieldOffer | null {
  return stream.field_offers.find((offer) => offer.kind === kind && offer.steps.length > 0) ?? null;
}

/** One layer of a field that spans several; null where it has no such layer. */
export function ofLayer(field: FieldData, layer: string | null): FieldData | null {
  const [first, ...rest] = field.axes;
  if (first?.name !== "layer" || layer === null) return field;
  const at = first.ticks.indexOf(layer);
  if (at < 0) return null;
  const size = rest.reduce((product, axis) => product * axis.ticks.length, 1);
  return { ...field, axes: rest, values: field.values.slice(at * size, (at + 1) * size), about: aboutOf(field, layer) };
}

/** What is told of each layer apart is told of this one. */
function aboutOf(field: FieldData, layer: string): Record<string, unknown> {
  return Object.fromEntries(Object.entries(field.about).map(([key, value]) => {
    const apart = value !== null && typeof value === "object" && !Array.isArray(value) && layer in value;
    return [key, apart ? (value as Record<string, unknown>)[layer] : value];
  }));
}

/** Numbers of a list that came as JSON; others are left out. */
export function numbersOf(value: unknown): number[] {
  return Array.isArray(value) ? value.filter((one): one is number => typeof one === "number") : [];
}

/** Points of a plane that came as JSON: [[a, b], …]. */
export function pointsOf(value: unknown): [number, number][] {
  if (!Array.isArray(value)) return [];
  return value.map(numbersOf).flatMap(([a, b]) => (a === undefined || b === undefined ? [] : [[a, b] as [number, number]]));
}
