import { describe, expect, it } from "vitest";
import { LATEST, matching, ordered, turned, updated, verdictText } from "../src/runs";
import { sparkPath } from "../src/views/Spark";
import { runLine } from "./data";

const b = runLine({ name: "b", created: "2026-01-02", steps: 5, last_loss: 0.5 });
const a = runLine({ name: "a", created: "2026-01-03", steps: 9, last_loss: "nan" });
const lines = [
  b,
  a,
  runLine({ name: "c", created: "2026-01-01", steps: 5, last_loss: 0.1, status: "running" }),
];

describe("news of the list", () => {
  it("put new runs to it, change those that changed, and keep the others as they are", () => {
    const next = updated(lines, { runs: [{ ...b, steps: 6 }, runLine({ name: "d" })], gone: ["a"] }, false);
    expect(next.map((line) => [line.name, line.steps])).toEqual([["b", 6], ["c", 5], ["d", 300]]);
    expect(next[1]).toBe(lines[2]);
  });
  it("drop what is not told of where they tell of all", () => {
    const next = updated(lines, { runs: [{ ...a }], gone: [] }, true);
    expect(next).toHaveLength(1);
    expect(next[0]).toBe(lines[1]);
  });
});

describe("the order of the list", () => {
  it("is the latest first", () => expect(ordered(lines, LATEST)).toEqual(["a", "b", "c"]));
  it("puts a loss that is no number last, either way", () => {
    const up = turned(LATEST, "last_loss");
    expect(ordered(lines, up)).toEqual(["c", "b", "a"]);
    expect(ordered(lines, turned(up, "last_loss"))).toEqual(["b", "c", "a"]);
  });
  it("is by name among equals", () => {
    expect(ordered(lines, { column: "steps", descending: true })).toEqual(["a", "b", "c"]);
  });
  it("puts the worst verdict first at the first click", () => {
    const bad = (severity: "critical" | "warning") => ({
      cause: "x", layer: "run", onset: 0, severity, confidence: 0.5, more: 0,
    });
    const judged = [runLine({ name: "w", verdict: bad("warning") }), runLine({ name: "h" }), runLine({ name: "c", verdict: bad("critical") })];
    expect(ordered(judged, turned(LATEST, "verdict"))).toEqual(["c", "w", "h"]);
  });
});

describe("the filter", () => {
  it("finds every word in the name, the state or the verdict", () => {
    expect(matching(lines, "run C").map((line) => line.name)).toEqual(["c"]);
    expect(matching(lines, "nothing wrong").map((line) => line.name)).toEqual(["b", "a", "c"]);
    expect(matching(lines, "b c")).toEqual([]);
  });
});

describe("the verdict in one line", () => {
  it("says the trouble of a file that cannot be read", () => {
    expect(verdictText(runLine({ trouble: "it is torn", status: "unreadable" }))).toBe("it is torn");
  });
  it("tells so far from final", () => {
    const judged = (state: "so_far" | "pending") => runLine({ judged: { state, steps: 1, text: "" } });
    expect([judged("so_far"), judged("pending")].map(verdictText)).toEqual(["nothing wrong so far", "being examined"]);
  });
});

describe("the small curve", () => {
  it("goes up to the high of each bin", () => {
    expect(sparkPath({ low: [0, 0], high: [0, 1] })).toBe("M2.0 28.0V28.0L130.0 28.0V2.0");
  });
  it("begins anew after a gap", () => {
    expect(sparkPath({ low: [0, null, 1], high: [0, null, 1] }).match(/M/g)).toHaveLength(2);
  });
  it("is nothing without a number", () => expect(sparkPath({ low: [null], high: [null] })).toBe(""));
});
