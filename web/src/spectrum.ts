// Where the eigenvalues of a curvature matrix lie: a recorded density in, what is drawn
// and said of it out.
import type { FieldData } from "./data";
import { numbersOf } from "./field";

export interface Spectrum {
  step: number;
  /** Ascending eigenvalues, and the density at each. */
  at: number[];
  density: number[];
  /** Largest eigenvalues, largest first, and how far each may be off, if that is told. */
  top: number[];
  errors: (number | null)[];
  /** Largest standard error of the density; null if that is not told. */
  noise: number | null;
  /** Of which matrix; "" if that is not told. */
  operator: string;
  /** Products with the matrix that it took; null if that is not told. */
  products: number | null;
  /** Share of all eigenvalues that is clearly below zero; null where that cannot be told. */
  below: number | null;
}

export const DECADES = 5; // of density that are drawn

/** Widths of the smoothing below zero from which an eigenvalue counts as negative: most are nearly zero, and one in
 * 700 of those is smoothed farther. */
const CLEAR = 3;

/** Null for a field that is no density over eigenvalues. */
export function spectrumOf(field: FieldData): Spectrum | null {
  const axis = field.axes.find((one) => one.name === "eigenvalue");
  const at = (axis?.ticks ?? []).map(Number);
  const density = field.values.slice(0, at.length).map((value) => value ?? 0);
  if (at.length < 2 || density.length !== at.length || !at.every(Number.isFinite)) return null;
  const listed = numbersOf(field.about["top"]);
  const off = field.about["errors"];
  const errors = listed.map((_, rank): number | null => {
    const one: unknown = Array.isArray(off) ? off[rank] : null;
    return typeof one === "number" ? one : null;
  });
  const order = [...listed.keys()].sort((a, b) => (listed[b] ?? 0) - (listed[a] ?? 0));
  const { operator, products, width } = field.about;
  return {
    step: field.step, at, density, below: belowBound(at, density, -CLEAR * (typeof width === "number" ? width : 0)), noise: typeof off === "number" ? off : null,
    top: order.map((rank) => listed[rank] ?? 0), errors: order.map((rank) => errors[rank] ?? null),
    operator: typeof operator === "string" ? operator : "", products: typeof products === "number" ? products : null,
  };
}

const OPERATORS: Record<string, string> = {
  hessian: "Hessian", ggn: "Gauss–Newton matrix", fisher: "Fisher matrix", empirical_fisher: "empirical Fisher matrix",
  preconditioned: "preconditioned Hessian", preconditioned_hessian: "preconditioned Hessian",
};

/** Which matrix, and what looking at it took. */
export function matrixOf({ operator, products }: Pick<Spectrum, "operator" | "products">): string {
  const name = OPERATORS[operator] ?? operator.replaceAll("_", " ");
  const cost = products === null ? "" : `${products.toLocaleString("en-US")} products`;
  return [name, cost].filter(Boolean).join(", ");
}

/** Trapezoids; the cell that holds the bound is cut there. */
function belowBound(at: number[], density: number[], bound: number): number | null {
  let [below, total] = [0, 0];
  for (let index = 1; index < at.length; index++) {
    const [from = 0, to = 0] = [at[index - 1], at[index]];
    const [one = 0, two = 0] = [density[index - 1], density[index]];
    const area = ((one + two) / 2) * (to - from);
    total += area;
    if (to <= bound) below += area;
    else if (from < bound) below += area * ((bound - from) / (to - from));
  }
  return total > 0 ? below / total : null;
}

/** Powers of ten of the density axis: the highest that is reached and DECADES below. */
export function decadesOf(density: number[]): [number, number] {
  const top = Math.ceil(Math.log10(Math.max(...density, Number.MIN_VALUE)) - 1e-9);
  return [top - DECADES, top];
}
