import { describe, expect, it } from "vitest";
import { Turns } from "../src/turns";
import { wantedRange } from "../src/views/useFiner";
import { rangeOf } from "../src/views/useSpan";
import { line } from "./data";

describe("the steps in view", () => {
  it("are all of a run that grows, until one zooms", () => {
    expect(rangeOf({ kind: "whole" }, [0, 500])).toEqual([0, 500]);
    expect(rangeOf({ kind: "part", range: [10, 20] }, [0, 500])).toEqual([10, 20]);
  });
  it("follow the end with as many steps as before, or as there are", () => {
    expect(rangeOf({ kind: "end", width: 100 }, [0, 500])).toEqual([400, 500]);
    expect(rangeOf({ kind: "end", width: 100 }, [0, 50])).toEqual([0, 50]);
  });
});

describe("more detail", () => {
  const panel = line({ x: [0, 1_024, 2_048], width: 1_024 });
  it("is asked for with as much on either side, in whole bins", () => {
    expect(wantedRange(panel, [40_000, 60_000], 1_000_000)).toEqual([29_696, 70_656]);
  });
  it("is not asked for where it is fine enough, or cannot be finer", () => {
    expect(wantedRange(panel, [0, 1_000_000], 1_000_000)).toBeNull();
    expect(wantedRange({ ...panel, width: 1 }, [0, 10], 1_000_000)).toBeNull();
  });
});

describe("turns", () => {
  it("draw at once what a person does, and the rest one a frame, the latest of each", async () => {
    const turns = new Turns();
    const drawn: string[] = [];
    const [a, b] = [{}, {}];
    turns.calm = true;
    turns.take(a, () => drawn.push("a1"));
    turns.take(b, () => drawn.push("b1"));
    turns.take(a, () => drawn.push("a2"));
    expect(drawn).toEqual([]);
    await new Promise((frame) => requestAnimationFrame(frame));
    expect(drawn).toEqual(["b1"]);
    turns.calm = false;
    turns.take(a, () => drawn.push("a3"));
    expect(drawn).toEqual(["b1", "a3"]);
    await new Promise((frame) => requestAnimationFrame(frame));
    await new Promise((frame) => requestAnimationFrame(frame));
    expect(drawn).toEqual(["b1", "a3"]);
  });
});
