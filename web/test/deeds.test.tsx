import { render } from "preact";
import { act } from "preact/test-utils";
import { afterEach, describe, expect, it } from "vitest";
import type { Replayed, RunEvent } from "../src/data";
import { actedAt, deeds, openQuestions } from "../src/deeds";
import { Asked } from "../src/views/Asked";
import { Deeds, summary } from "../src/views/Deeds";
import { headline, Replays } from "../src/views/Replays";
import { Rescue } from "../src/views/Rescue";

function event(step: number, kind: string, body: Record<string, unknown> = {}): RunEvent {
  return { step, kind, stream: "main", body };
}

function shown(view: preact.ComponentChild): HTMLElement {
  const root = document.createElement("div");
  document.body.append(root);
  act(() => render(view, root));
  return root;
}

afterEach(() => { document.body.textContent = ""; });

const LOWER = event(40, "change", { knob: "lr", op: "scale", before: "lr × 1", after: "lr × 0.5", why: "a spike", layers: [] });
const BACK = event(90, "undo", { remedy: "lower_rate", began: 40, before: 1.25, after: 1.5, why: "the loss did not fall" });
const ASKS = event(50, "question", { question: 3, seconds: 60, cause: "rate_too_high", layer: "run", remedy: "lower_rate", changes: [{ knob: "lr", op: "scale", amount: 0.5, layers: [] }] });

describe("what was done", () => {
  it("tells a change, and that it was taken back", () => {
    const [lower, back] = deeds([event(0, "start"), LOWER, event(60, "checkpoint"), BACK]);
    expect(lower).toMatchObject({ step: 40, what: "Learning rate", before: "lr × 1", after: "lr × 0.5", why: "a spike", undone: 90 });
    expect(back).toMatchObject({ kind: "undone", what: "Taken back: lower rate", before: "loss 1.25", after: "loss 1.5" });
  });
  it("folds updates that were skipped in a row, whose numbers alone differ", () => {
    const skip = (step: number, norm: string): RunEvent =>
      event(step, "change", { knob: "step", op: "skip", before: "made", after: "skipped", why: `norm ${norm} over 8 medians` });
    const rows = deeds([skip(1, "1e+9"), skip(2, "3.5"), skip(3, "inf"), LOWER]);
    expect(rows.map((row) => [row.what, row.step, row.last, row.count])).toEqual([
      ["Update skipped", 1, 2, 2], ["Update skipped", 3, 3, 1], ["Learning rate", 40, 40, 1],
    ]);
  });
  it("folds updates that are skipped and clipped in turn", () => {
    const done = (step: number, knob: string, op: string): RunEvent => event(step, "change", { knob, op, why: "outlier" });
    const rows = deeds([1, 2, 3, 4].flatMap((at) => [done(at, "step", "skip"), done(at, "gradient", "scale")]));
    expect(rows.map((row) => [row.what, row.step, row.last, row.count])).toEqual([
      ["Update skipped", 1, 4, 4], ["Gradient clipped", 1, 4, 4],
    ]);
  });
  it("does not take advice for action", () => {
    const rows = deeds([event(7, "advice", { remedy: "clip_gradients", cause: "exploding", layer: "net.0", changes: [] })]);
    expect(rows[0]).toMatchObject({ kind: "advised", what: "Advised: clip gradients" });
    expect(summary(rows)).toBe("nothing was changed, 1 advice");
    expect(summary(deeds([LOWER, BACK]))).toBe("1 change, 1 taken back");
  });
  it("names an incident by its file", () =>
    expect(deeds([event(9, "incident", { path: "/a/b/net.incident.safetensors", reason: "loss is nan" })])[0])
      .toMatchObject({ after: "net.incident.safetensors", why: "loss is nan", kind: "kept" }));
  it("marks the steps of changes and of undoing, once each", () =>
    expect(actedAt([LOWER, LOWER, BACK, ASKS])).toEqual([40, 90]));
  it("is a table that leads to the step; without deeds there is none", () => {
    const seen: number[] = [];
    const root = shown(<Deeds events={[LOWER, BACK]} show={(step) => seen.push(step)} />);
    expect(root.querySelectorAll("tbody tr").length).toBe(2);
    expect(root.textContent).toContain("at step 90");
    act(() => root.querySelector<HTMLButtonElement>("tbody button")?.click());
    expect(seen).toEqual([40]);
    expect(shown(<Deeds events={[event(0, "start")]} show={() => undefined} />).textContent).toBe("");
  });
});

describe("a question of the run", () => {
  it("is open until it is answered", () => {
    expect(openQuestions([ASKS]).map((one) => [one.number, one.text])).toEqual([[3, "lower rate (learning rate × 0.5)"]]);
    expect(openQuestions([ASKS, event(55, "answer", { question: 3, answer: "no" })])).toEqual([]);
  });
  it("sends the answer once, and says what became of it", async () => {
    const sent: [number, string][] = [];
    const root = shown(<Asked events={[ASKS]} answer={(number, word) => { sent.push([number, word]); return Promise.resolve(); }} />);
    await act(async () => { root.querySelector<HTMLButtonElement>("button.yes")?.click(); await Promise.resolve(); });
    expect(sent).toEqual([[3, "yes"]]);
    expect(root.querySelectorAll("button").length).toBe(0);
    expect(root.textContent).toContain("Answered yes");
  });
  it("says why an answer was refused", async () => {
    const root = shown(<Asked events={[ASKS]} answer={() => Promise.reject(new Error("the run has ended"))} />);
    await act(async () => { root.querySelector<HTMLButtonElement>("button.plain")?.click(); await Promise.resolve(); });
    expect(root.textContent).toContain("the run has ended");
  });
});

const REMEDY = { remedy: "halve the rate", changes: [{ knob: "lr", op: "scale", amount: 0.5, layers: [] }], expect: "", source: "", advice: "" };

function replayed(over: Partial<Replayed> = {}): Replayed {
  return {
    incident: "net-1.incident.safetensors", first: 10, parting: 12, onset: 15, last: 20, result: "prevented",
    cause: "learning rate too high", evidence: ["half the rate prevents it"], layers: [], remedy: REMEDY,
    branches: [
      { prescription: { ...REMEDY, remedy: "unchanged", changes: [] }, verdict: "as recorded", loss: "inf", held_out: "nan", losses: [1, 2, "inf"], detail: "" },
      { prescription: REMEDY, verdict: "prevented", loss: 0.5, held_out: 0.6, losses: [1, 0.8, 0.5], detail: "" },
      { prescription: { ...REMEDY, remedy: "clip" }, verdict: "does not apply", loss: "nan", held_out: "nan", losses: [], detail: "no gradient" },
    ],
    recorded: [1, 1, 1, 2, "inf"], noise: 0, departs: null, set_aside: "earlier batches", seconds: 3.2, notes: [], ...over,
  };
}

describe("a replay", () => {
  it("names the cause and the cheapest remedy, or says that none helped", () => {
    expect(headline(replayed())).toBe("Learning rate too high — prevented most cheaply by: halve the rate");
    expect(headline(replayed({ result: "no remedy helped", cause: "", remedy: null }))).toBe("No remedy helped.");
    expect(headline(replayed({ result: "nothing to prevent", cause: "" }))).toContain("did the loss no harm");
  });
  it("shows each branch with its verdict, and apart from them what does not apply", () => {
    const root = shown(<Replays replays={[replayed()]} />);
    const rows = [...root.querySelectorAll("tbody tr")].map((row) => [...row.querySelectorAll("th, td")].map((cell) => cell.textContent));
    expect(rows[0]?.slice(0, 2)).toEqual(["Unchanged", "as recorded"]);
    expect(rows[0]?.slice(3)).toEqual(["infinite", "not a number"]);
    expect(rows[1]?.slice(1)).toEqual(["✓ prevented", "", "0.5", "0.6"]);
    expect(rows.length).toBe(2);
    expect(root.querySelector("details")?.textContent).toBe("1 change does not apply hereClip: no gradient");
    expect(root.querySelectorAll("tr.chosen").length).toBe(1);
    expect(root.textContent).toContain("bit for bit");
  });
  it("tells the noise floor", () =>
    expect(shown(<Replays replays={[replayed({ noise: 0.002 })]} />).textContent).toContain("within 0.002 of each"));
});

describe("a rescue", () => {
  const alone = { changes: [], value: 0.1, losses: [2, 2, 2], share: 1, chosen: false, detail: "" };
  const short = { ...alone, changes: ["lr × 4"], value: "nan", share: 0.1 };
  const best = { ...alone, changes: ["lr × 0.1", "clip norm → 1"], value: 0.9, losses: [2, 1, 0.5], chosen: true };
  it("shows what was chosen beside the run left alone, then what else was tried", () => {
    const root = shown(<Rescue told={{ headline: "Repaired", metric: "accuracy", attempts: [alone, short, best], spent: 1.1 }} />);
    const rows = [...root.querySelectorAll("tbody tr")].map((row) => [...row.querySelectorAll("th, td")].map((cell) => cell.textContent));
    expect(rows).toEqual([
      ["Left alone", "", "whole", "0.1"],
      ["lr × 0.1clip norm → 1", "", "whole", "0.9"],
      ["lr × 4", "", "10 %", "–"],
    ]);
    expect(root.querySelectorAll("tr.chosen").length).toBe(1);
    expect(root.querySelectorAll("tr.chosen path.branch").length).toBe(1);
    expect(root.textContent).toContain("1.1 × the run itself");
  });
  it("shows nothing where nothing was trained", () =>
    expect(shown(<Rescue told={{ headline: "", metric: "", attempts: [], spent: 0 }} />).textContent).toBe(""));
});
