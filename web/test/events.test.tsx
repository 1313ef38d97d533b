import { render } from "preact";
import { act } from "preact/test-utils";
import { afterEach, describe, expect, it } from "vitest";
import type { RunEvent, Verdict as Trial } from "../src/data";
import { counted, describe as told, folded, groupOf } from "../src/events";
import { placed, signAt } from "../src/lanes";
import { EventList } from "../src/views/EventList";
import { keyed } from "../src/views/EventStrip";
import { sorted, Trials } from "../src/views/Trials";
import { Verdict } from "../src/views/Verdict";
import { diagnosis, page } from "./data";

function event(step: number, kind: string, body: Record<string, unknown> = {}): RunEvent {
  return { step, kind, stream: "main", body };
}

function shown(view: preact.ComponentChild): HTMLElement {
  const root = document.createElement("div");
  document.body.append(root);
  act(() => render(view, root));
  return root;
}

function click(root: HTMLElement, text: string): void {
  const found = [...root.querySelectorAll("button")].find((button) => button.textContent?.includes(text));
  act(() => found?.click());
}

afterEach(() => { document.body.textContent = ""; });

describe("events in words", () => {
  it.each([
    ["finding", { cause: "vanishing_gradients", layer: "net.0" }, "Vanishing gradients in net.0"],
    ["change", { knob: "lr", before: "lr × 1", after: "lr × 0.5", why: "a spike" }, "Learning rate: lr × 1 → lr × 0.5, because a spike"],
    ["checkpoint", { path: "a.pt" }, "Checkpoint written to a.pt"],
    ["curvature", { rows: 32, of: 128 }, "Curvature is measured on 32 of the 128 rows of the batch that is kept for it"],
    ["curvature", { skipped: "the loss is nan" }, "Curvature was not measured: the loss is nan"],
    ["mode", { training: false }, "The model is in evaluation mode"],
    ["wiring", { heads: [["NllLoss", "LogSoftmax"]], unreached: ["a.bias"], loose: [] },
      "The loss reads the model through NllLoss ← LogSoftmax; the loss does not depend on a.bias"],
  ])("%s", (kind, body, text) => expect(told(event(1, kind, body))).toBe(text));
});

describe("groups of events", () => {
  const many = [event(0, "start"), event(3, "finding"), event(5, "change"), event(6, "unheard_of")];
  it("are counted, the weightiest first", () =>
    expect(counted(many).map(({ group, count }) => [group.name, count])).toEqual([["alarm", 1], ["change", 1], ["other", 2]]));
  it("fold updates skipped in a row for one reason", () => {
    const skip = (step: number, reason: string): RunEvent => event(step, "skipped_step", { reason });
    const lines = folded([skip(1, "inf"), skip(2, "inf"), skip(3, "nan"), event(4, "checkpoint"), skip(5, "nan")]);
    expect(lines.map((line) => [line.event.step, line.last, line.count])).toEqual([[1, 2, 2], [3, 3, 1], [4, 4, 1], [5, 5, 1]]);
  });
});

describe("the list of events", () => {
  const many = Array.from({ length: 60 }, (_, at) => event(at, at % 2 ? "checkpoint" : "change", { before: at, after: at + 1, why: "w", path: "p" }));
  it("shows the first and the last, and the rest when asked", () => {
    const root = shown(<EventList events={many} />);
    expect(root.querySelectorAll("li").length).toBeLessThan(20);
    click(root, "more");
    expect(root.querySelectorAll("li").length).toBe(60);
  });
  it("hides a kind", () => {
    const root = shown(<EventList events={many.slice(0, 8)} />);
    click(root, "checkpoints");
    expect([...root.querySelectorAll("li .kind")].map((kind) => kind.textContent)).toEqual(Array(4).fill("change"));
    expect(root.querySelector("[aria-pressed=false]")?.textContent).toContain("checkpoints");
  });
  it("says before, after and why of a change", () => {
    const text = shown(<EventList events={[event(3, "change", { before: "no clipping", after: "clip at norm 1", why: "a spike" })]} />).textContent;
    expect(text).toContain("no clipping → clip at norm 1");
    expect(text).toContain("a spike");
  });
  it("leads to the step", () => {
    const seen: number[] = [];
    const root = shown(<EventList events={[event(1234, "change")]} show={(step) => seen.push(step)} />);
    click(root, "1,234");
    expect(seen).toEqual([1234]);
  });
});

describe("signs on the step axis", () => {
  it("have a lane for each group, and merge where they would touch", () => {
    const crowd = [event(10, "change"), event(11, "change"), event(11, "finding"), event(90, "change"), event(500, "change")];
    const { signs, lanes } = placed(crowd, [0, 100], [50, 550]);
    expect(lanes).toBe(2);
    expect(signs.map((sign) => [sign.group.name, sign.events.length])).toEqual([["change", 2], ["alarm", 1], ["change", 1]]);
  });
  it("are found from a little beside", () => {
    const { signs } = placed([event(10, "change"), event(90, "change")], [0, 100], [0, 1000]);
    expect([signAt(signs, 104, 0), signAt(signs, 500, 0), signAt(signs, 896, 0.2)]).toEqual([0, null, 1]);
  });
  it("are walked by keys", () =>
    expect([keyed("ArrowRight", null, 3), keyed("ArrowRight", 2, 3), keyed("ArrowLeft", null, 3), keyed("Escape", 1, 3), keyed("x", 1, 3)])
      .toEqual([0, 2, 2, null, undefined]));
  it("stay in view at the ends", () =>
    expect(placed([event(0, "end"), event(100, "end")], [0, 100], [50, 550]).signs.map((sign) => sign.x)).toEqual([56, 544]));
  it("give each kind its group", () => expect(groupOf("nonfinite").name).toBe("nonfinite"));
});

function trial(effect: number | string, held: boolean): Trial {
  return {
    prescription: { remedy: `remedy ${effect}`, changes: [], expect: "", source: "", advice: "do it" },
    metric: "accuracy", seeds: [0, 1], baseline: [0.1, 0.2], treated: [0.3, "nan"], effect, interval: [0.1, 0.3], held,
  };
}

describe("trials", () => {
  it("are sorted: what helped first, by how much", () =>
    expect(sorted([trial(0.1, true), trial(9, false), trial("nan", false), trial(0.4, true)]).map((one) => one.effect)).toEqual([0.4, 0.1, 9, "nan"]));
  it("say plainly when none helped", () => {
    expect(shown(<Trials verdicts={[trial(0.1, false), trial(0.2, false)]} />).textContent).toContain("No remedy helped.");
    expect(shown(<Trials verdicts={[trial(0.1, true), trial(0.2, false)]} />).textContent).not.toContain("No remedy helped.");
  });
  it("leave runs without a number out of a mean", () => {
    const cells = [...shown(<Trials verdicts={[trial(0.1, true), trial(0.1, true)]} />).querySelectorAll("tbody tr:first-child td")];
    expect(cells.map((cell) => cell.textContent)).toContain("0.3");
  });
});

describe("how far a verdict is", () => {
  const text = (state: "final" | "so_far" | "pending" | "failed", steps: number | null, told = "", diagnoses = [] as ReturnType<typeof diagnosis>[]) =>
    shown(<Verdict data={page({ diagnoses, judged: { state, steps, text: told } })} />).textContent ?? "";
  it("so far", () => expect(text("so_far", 1200)).toContain("Nothing wrong so far in 1,200 steps"));
  it("so far, with a finding", () => expect(text("so_far", 1200, "", [diagnosis()])).toContain("The run goes on"));
  it("still to come: nothing is called healthy", () => {
    expect(text("pending", null)).toContain("Being examined");
    expect(text("pending", null)).not.toContain("Nothing wrong");
  });
  it("failed, and why", () => {
    expect(text("failed", null, "The record is damaged.")).toContain("The record is damaged.");
    expect(text("failed", null)).not.toContain("Nothing wrong");
  });
  it("of a part", () => expect(text("final", 100, "Looked at both ends.")).toMatch(/100 steps of 300 looked at\. Looked at both ends\./));
  it("leads to the charts", () => {
    const seen: string[] = [];
    const root = shown(<Verdict data={page({ diagnoses: [diagnosis()] })} show={(one) => seen.push(one.layer)} />);
    click(root, "Show in the charts");
    expect(seen).toEqual(["net.0.weight"]);
  });
});
