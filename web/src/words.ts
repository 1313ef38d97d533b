// Sentences: record values in, plain words out.
import type { Change, Diagnosis, Prescription, Run, Severity } from "./data";
import { number, step } from "./format";

const ORDER: Severity[] = ["critical", "warning", "info"];

export function severityOf(diagnosis: Diagnosis): Severity {
  const found = diagnosis.findings.map((finding) => finding.severity);
  return ORDER.find((severity) => found.includes(severity)) ?? "warning";
}

export function spaced(name: string): string {
  return name.replaceAll("_", " ").replace(/^nonfinite$/, "non-finite value");
}

/** A recorded quantity as one says it. */
export function quantityWords(name: string): string {
  if (name === "lr") return "learning rate";
  return spaced(name).replace(/^grad /, "gradient ").replace(/^step seconds$/, "step time");
}

export function sentence(text: string): string {
  const words = spaced(text);
  return words.charAt(0).toUpperCase() + words.slice(1);
}

export function place(layer: string): string {
  return layer === "run" || layer === "" ? "the whole run" : layer;
}

export function certainty(diagnosis: Diagnosis): string {
  if (!diagnosis.confirmed) return "unconfirmed: one signal alone";
  if (diagnosis.confidence >= 0.85) return "strong evidence";
  if (diagnosis.confidence >= 0.6) return "good evidence";
  return "weak evidence";
}

export function status(run: Pick<Run, "status">): { label: string; kind: string } {
  if (run.status === "finished") return { label: "finished", kind: "calm" };
  if (run.status === "failed") return { label: "failed", kind: "alarm" };
  if (run.status === "interrupted") return { label: "interrupted", kind: "alert" };
  if (run.status === "killed") return { label: "killed", kind: "alarm" };
  if (run.status === "running") return { label: "still running", kind: "act" };
  return { label: run.status || "no end recorded", kind: "quiet" };
}

export function knob(name: string): string {
  return name === "lr" ? "learning rate" : spaced(name);
}

export function change(one: Change): string {
  const amount = typeof one.amount === "number" ? number(one.amount) : one.amount;
  const where = one.layers.length ? ` in ${one.layers.join(", ")}` : "";
  const what = knob(one.knob);
  if (one.op === "scale") return `${what} × ${amount}${where}`;
  if (one.op === "set") return `${what} → ${amount}${where}`;
  if (one.op === "add") return `${what} + ${amount}${where}`;
  return `${what}: ${spaced(one.op)} ${amount}${where}`;
}

export function advice(prescription: Prescription): string {
  return prescription.advice || prescription.changes.map(change).join("; ");
}

/** The module, operation and line in which a value stopped being finite. */
export function birth(body: Record<string, unknown>): string {
  const where = plain(body["module"]) || "an unknown module";
  const from = body["operation"] ? ` by ${plain(body["operation"])}` : "";
  const line = body["line"] ? ` at ${plain(body["line"])}` : "";
  const pass = body["direction"] ? `, ${plain(body["direction"])} pass` : "";
  const doubt = body["certain"] === false ? " (not certain)" : "";
  return `${where}${from}${line}${pass}${doubt}`;
}

const MEANINGS: Record<string, string> = {
  grad_norm: "Length of each parameter's gradient",
  update_ratio: "Length of each update over the length of the weights",
  dead_share: "Share of units that put out zero on the whole sample",
  saturated_share: "Share of outputs at the ends of the activation's range",
  activation_std: "Standard deviation of each module's output",
  second_moment_ratio: "RMS of g²/v: 1 where Adam's second moment fits the gradient",
  weight_norm: "Length of each parameter",
  zero_share: "Share of outputs that are exactly zero",
};

export function meaning(quantity: string): string {
  return MEANINGS[quantity] ?? sentence(quantity);
}

export function plain(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return number(value);
  if (typeof value === "string") return value;
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value)) return value.map(plain).join(", ");
  return JSON.stringify(value);
}

export function steps(count: number): string {
  return count === 1 ? "1 step" : `${step(count)} steps`;
}
