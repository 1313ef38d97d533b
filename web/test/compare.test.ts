import { describe, expect, it } from "vitest";
import { aligned, extentOf, lastOf, positive, strokeOf, wide } from "../src/compare";

const line = (x: number[], low: (number | null)[], high = low) => ({ run: "r", stream: "main", label: "r", x, low, high });

describe("lines of several runs", () => {
  it("share bins, and have nothing where they have no reading", () => {
    const shared = aligned([line([0, 1, 2], [5, 4, 3]), line([1, 3], [8, 9])], [0, 4]);
    expect(shared.x).toEqual([0, 1, 2, 3]);
    expect(shared.low).toEqual([[5, 4, 3, null], [null, 8, null, 9]]);
  });
  it("keep a spike of one step among a million", () => {
    const x = Array.from({ length: 100_000 }, (_, at) => at * 10);
    const shared = aligned([line(x, x.map((step) => (step === 123_450 ? 77 : 1)))], [0, 1_000_000]);
    expect(shared.x.length).toBeLessThanOrEqual(1_000);
    expect(shared.high[0]?.indexOf(77)).toBe(Math.floor(123_450 / shared.width));
  });
  it("have narrower bins the less is in view", () => {
    const lines = [line([0, 999_999], [1, 1])];
    expect([aligned(lines, [0, 1_000_000]).width, aligned(lines, [0, 900]).width]).toEqual([1024, 1]);
  });
  it("reach from the first step of any to the last of any", () => {
    expect(extentOf([line([5, 9], [1, 1]), line([2], [1])])).toEqual([2, 10]);
    expect(extentOf([])).toEqual([0, 1]);
  });
  it("tell their last number, not their last bin", () => {
    expect([lastOf(line([0, 1], [1, null])), lastOf(line([0], [null]))]).toEqual([1, null]);
  });
  it("know how much of them is positive, and where a spike flattens the rest", () => {
    expect([positive([line([0, 1], [1, 0])]), positive([line([0, 1], [1, 2])]), positive([])]).toEqual([0.5, 1, 0]);
    expect([wide([line([0, 1, 2], [1, 2, 3])]), wide([line([0, 1, 2], [1, 1, 900])])]).toEqual([false, true]);
  });
  it("differ in colour or dashes", () => {
    const strokes = Array.from({ length: 30 }, (_, at) => JSON.stringify(strokeOf(at, ["a", "b", "c", "d", "e", "f"])));
    expect(new Set(strokes).size).toBe(30);
  });
});
