// What happened in a run: recorded events in, groups, signs and sentences out.
import type { Change, RunEvent } from "./data";
import { step } from "./format";
import { birth, change, knob, place, plain, sentence, spaced } from "./words";

/** Kinds that are told apart at a glance, by shape first and colour second. */
export interface Group {
  name: string;
  /** One and several of them. */
  label: [string, string];
  path: string;
  tone: string;
  kinds: readonly string[];
}

const DOT = "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0";

/** In the order of their weight; the last takes all kinds that no other names. */
export const GROUPS: readonly Group[] = [
  { name: "alarm", label: ["alarm", "alarms"], path: "M0-6 6 5H-6z", tone: "alarm", kinds: ["finding"] },
  { name: "nonfinite", label: ["non-finite value", "non-finite values"], path: "M-5-5 5 5M5-5-5 5", tone: "alarm crossed", kinds: ["nonfinite"] },
  { name: "change", label: ["change", "changes"], path: "M0-6 6 0 0 6-6 0z", tone: "act", kinds: ["change", "verdict", "undo", "autopilot"] },
  { name: "incident", label: ["incident kept", "incidents kept"], path: "M-5-6h10v12h-10zM-2-3v6M2-3v6", tone: "alert", kinds: ["incident"] },
  { name: "advice", label: ["advice or question", "advice and questions"], path: "M0-6a6 6 0 0 1 0 12a6 6 0 0 1-4-1l-2 1 1-2.5a6 6 0 0 1 5-9.5z", tone: "quiet", kinds: ["advice", "question", "answer"] },
  { name: "skipped", label: ["skipped update", "skipped updates"], path: "M-5-5h10v10h-10z", tone: "alert", kinds: ["skipped_step", "probe_off"] },
  { name: "checkpoint", label: ["checkpoint", "checkpoints"], path: "M-4-6h8v12l-4-3.5-4 3.5z", tone: "calm", kinds: ["checkpoint"] },
  { name: "other", label: ["other", "other"], path: DOT, tone: "quiet", kinds: [] },
];

export function groupOf(kind: string): Group {
  const other = GROUPS[GROUPS.length - 1] as Group;
  return GROUPS.find((group) => group.kinds.includes(kind)) ?? other;
}

/** How many events of each group there are; groups without any are left out. */
export function counted(events: RunEvent[]): { group: Group; count: number }[] {
  return GROUPS.map((group) => ({ group, count: events.filter((event) => groupOf(event.kind) === group).length }))
    .filter((one) => one.count > 0);
}

/** One line of a list: an event, or several alike in a row. */
export interface Line {
  event: RunEvent;
  /** Step of the last of them. */
  last: number;
  count: number;
}

/** Updates skipped one after the other for one reason are one line. */
export function folded(events: RunEvent[]): Line[] {
  const lines: Line[] = [];
  for (const event of events) {
    const before = lines.at(-1);
    if (before && event.kind === "skipped_step" && alike(before.event, event)) {
      before.last = event.step;
      before.count += 1;
    } else lines.push({ event, last: event.step, count: 1 });
  }
  return lines;
}

function alike(one: RunEvent, other: RunEvent): boolean {
  return one.kind === other.kind && one.stream === other.stream && plain(one.body["reason"]) === plain(other.body["reason"]);
}

export function told({ event, count }: Line): string {
  return count > 1 ? `${step(count)} updates skipped in a row: ${plain(event.body["reason"])}` : describe(event);
}

export function kindWords(kind: string): string {
  return kind === "nonfinite" ? "non-finite" : spaced(kind);
}

/** One line for one event; unknown kinds list what their body holds. */
export function describe(event: RunEvent): string {
  const body = event.body;
  const text = (key: string): string => plain(body[key]);
  switch (event.kind) {
    case "start":
      return `Run started: ${[text("script"), ...list(body["argv"])].join(" ")}`;
    case "end":
      return `Run ${text("status")}${body["error"] ? `: ${text("error")}` : ""}`;
    case "nonfinite":
      return nonfinite(event);
    case "probe_off":
      return `Probe ${text("probe")} switched off: ${text("error")}`;
    case "skipped_step":
      return `Update skipped: ${text("reason")}`;
    case "change":
      return `${sentence(knob(text("knob")))}: ${text("before")} → ${text("after")}${body["why"] ? `, because ${text("why")}` : ""}`;
    case "undo":
      return `Taken back: ${spaced(text("remedy") || knob(text("knob")))}${because(body)}`;
    case "autopilot":
      return `Autopilot: ${text("what")}${body["why"] ? `: ${text("why")}` : ""}`;
    case "advice":
      return `Advised: ${remedyOf(body)}, against ${spaced(text("cause"))} in ${place(text("layer"))}`;
    case "question":
      return `Asked: ${remedyOf(body)}, against ${spaced(text("cause"))} in ${place(text("layer"))}?`;
    case "answer":
      return answered(body);
    case "incident":
      return `Incident kept in ${text("path")}: ${text("reason")}`;
    case "finding":
      return `${sentence(text("cause") || text("signature"))} in ${place(text("layer"))}`;
    case "checkpoint":
      return `Checkpoint written to ${text("path")}`;
    case "curvature":
      return body["skipped"] ? `Curvature was not measured: ${text("skipped")}` : `Curvature is measured on ${text("rows")} of the ${text("of")} rows of the batch that is kept for it`;
    case "wiring":
      return wiring(body);
    case "mode":
      return body["training"] === false ? "The model is in evaluation mode" : "The model is in training mode";
    case "note":
      return text("text");
    case "verdict":
      return `Remedy tried: ${verdictRemedy(body)}`;
    default:
      return Object.keys(body)
        .map((key) => `${spaced(key)} ${text(key)}`)
        .join(", ");
  }
}

function because(body: Record<string, unknown>): string {
  return body["why"] ? `, because ${plain(body["why"])}` : "";
}

/** The advised remedy, with what it changes. */
export function remedyOf(body: Record<string, unknown>): string {
  const changes = Array.isArray(body["changes"]) ? (body["changes"] as Change[]).map(change).join("; ") : "";
  return `${spaced(plain(body["remedy"]))}${changes ? ` (${changes})` : ""}`;
}

function answered(body: Record<string, unknown>): string {
  const word = plain(body["answer"]);
  return word === "none" ? "No answer: nothing is changed" : `Answered ${word}${body["by"] ? ` (${plain(body["by"])})` : ""}`;
}

/** How the loss hangs on the model, and what of it is loose. */
function wiring(body: Record<string, unknown>): string {
  const heads = Array.isArray(body["heads"]) ? body["heads"].map((head) => list(head).join(" ← ")).filter(Boolean) : [];
  const through = heads.length ? `The loss reads the model through ${heads.join("; ")}` : "The loss and the model";
  const unreached = list(body["unreached"]);
  const loose = list(body["loose"]);
  return [
    through,
    ...(unreached.length ? [`the loss does not depend on ${unreached.slice(0, 4).join(", ")}${unreached.length > 4 ? ` and ${unreached.length - 4} more` : ""}`] : []),
    ...(loose.length ? [`parameters that no optimizer holds: ${loose.length}`] : []),
  ].join("; ");
}

function nonfinite(event: RunEvent): string {
  return `First non-finite value in ${birth(event.body)}`;
}

function verdictRemedy(body: Record<string, unknown>): string {
  const prescription = body["prescription"];
  if (prescription && typeof prescription === "object" && "remedy" in prescription) {
    return spaced(plain(prescription.remedy));
  }
  return "a remedy";
}

function list(value: unknown): string[] {
  return Array.isArray(value) ? value.map(plain) : [];
}
