// What was done to a run: recorded events in, rows of a table out.
import type { RunEvent } from "./data";
import { kindWords, remedyOf } from "./events";
import { knob, place, plain, sentence, spaced } from "./words";

/** Something that was done, or advised; several alike in a row are one. */
export interface Deed {
  step: number;
  /** Step of the last of them. */
  last: number;
  count: number;
  kind: "done" | "said" | "undone" | "advised" | "kept";
  what: string;
  before: string;
  after: string;
  why: string;
  /** Step at which it was taken back; null while it stands. */
  undone: number | null;
  /** Whether it was done to one update alone. */
  single: boolean;
}

const KINDS: Record<string, Deed["kind"]> = {
  change: "done", undo: "undone", autopilot: "said", advice: "advised", question: "advised",
  answer: "said", incident: "kept",
};

/** Steps at which something was done to the training itself. */
export function actedAt(events: RunEvent[]): number[] {
  const steps = events.filter((event) => event.kind === "change" || event.kind === "undo").map((event) => event.step);
  return [...new Set(steps)];
}

const NEAR = 3;

export function deeds(events: RunEvent[]): Deed[] {
  const found: Deed[] = [];
  for (const event of events) {
    const deed = deedOf(event);
    if (!deed) continue;
    if (deed.kind === "undone") takeBack(found, event);
    // Skipped and clipped updates alternate: such a row may lie a few rows back.
    const near = found.slice(deed.single ? -NEAR : -1);
    const before = near.reverse().find((one) => alike(one, deed));
    if (before) {
      before.last = deed.step;
      before.count += 1;
      before.after = deed.after;
    } else found.push(deed);
  }
  return found;
}

function deedOf({ step, kind, body }: RunEvent): Deed | null {
  const known = KINDS[kind];
  if (!known) return null;
  const text = (key: string): string => plain(body[key]);
  const deed: Deed = {
    step, last: step, count: 1, kind: known, what: sentence(kindWords(kind)), before: "", after: "",
    why: text("why"), undone: null, single: false,
  };
  switch (kind) {
    case "change":
      return {
        ...deed, what: changed(body), before: text("before"), after: text("after"),
        single: SINGLE.includes(`${text("knob")} ${text("op")}`),
      };
    case "undo":
      return { ...deed, what: `Taken back: ${spaced(text("remedy") || knob(text("knob")))}`, ...beforeAfter(body) };
    case "autopilot":
      return { ...deed, what: sentence(text("what")) };
    case "answer":
      return { ...deed, what: `Answer to a question: ${text("answer")}`, why: text("by") && `by ${text("by")}` };
    case "incident":
      return { ...deed, what: "Incident kept", after: text("path").split(/[\\/]/).at(-1) ?? "", why: text("reason") };
    default:
      return { ...deed, what: `${sentence(kind === "question" ? "asked" : "advised")}: ${remedyOf(body)}`,
        why: `${spaced(text("cause"))} in ${place(text("layer"))}` };
  }
}

/** The knob in words, and where it was turned. */
function changed(body: Record<string, unknown>): string {
  const layers = plain(body["layers"]);
  const named = plain(body["knob"]);
  if (named === "step" || named === "state" || named === "gradient") {
    return sentence(KNOWN[`${named} ${plain(body["op"])}`] ?? `${named} ${plain(body["op"])}`);
  }
  return sentence(knob(named)) + (layers && named !== "penalty" ? ` in ${layers}` : "");
}

/** What the autopilot does to single updates. */
const KNOWN: Record<string, string> = {
  "step scale": "step size", "step cap": "longest update", "step skip": "update skipped",
  "gradient scale": "gradient clipped", "state restore": "earlier state put back",
};

const SINGLE = ["step skip", "gradient scale"];

function beforeAfter(body: Record<string, unknown>): { before: string; after: string } {
  const level = (key: string): string => (typeof body[key] === "number" ? `loss ${plain(body[key])}` : plain(body[key]));
  return { before: level("before"), after: level("after") };
}

/** Marks what an undo speaks of. */
function takeBack(found: Deed[], event: RunEvent): void {
  const began = event.body["began"] ?? event.body["of"];
  for (const deed of found) {
    if (deed.kind === "done" && deed.undone === null && deed.step === began) deed.undone = event.step;
  }
}

/** Skipped and clipped updates come in rows: they differ in their numbers only. */
function alike(one: Deed, other: Deed): boolean {
  const bare = (text: string): string => text.replace(/[\d.,e+-]+/g, "#");
  return one.kind === other.kind && one.what === other.what && one.undone === null
    && bare(one.why) === bare(other.why) && one.kind === "done";
}

/** A question of the run that nobody has answered yet. */
export interface Question {
  number: number;
  step: number;
  text: string;
  why: string;
  seconds: number;
}

export function openQuestions(events: RunEvent[]): Question[] {
  const answered = new Set(events.filter((event) => event.kind === "answer").map((event) => event.body["question"]));
  return events
    .filter((event) => event.kind === "question" && typeof event.body["question"] === "number" && !answered.has(event.body["question"]))
    .map(({ step, body }) => ({
      number: body["question"] as number, step, text: remedyOf(body),
      why: `${spaced(plain(body["cause"]))} in ${place(plain(body["layer"]))}`,
      seconds: typeof body["seconds"] === "number" ? body["seconds"] : 0,
    }));
}
