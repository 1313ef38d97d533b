import { describe, expect, it } from "vitest";
import type { FieldData } from "../src/data";
import { nearest, ofLayer, pointsOf } from "../src/field";
import { bars, filled, median } from "../src/histogram";
import { decadesOf, spectrumOf } from "../src/spectrum";
import { spread } from "../src/views/Histogram";

function field(over: Partial<FieldData> = {}): FieldData {
  return { kind: "k", step: 3, title: "", unit: "", axes: [], values: [], about: {}, ...over };
}

describe("fields", () => {
  it("are found at or before a step, else the first", () =>
    expect([5, 4, 0].map((step) => nearest([2, 5, 9], step))).toEqual([5, 2, 2]));
  it("have no nearest of none", () => expect(nearest([], 3)).toBeNull());
  it("give one layer, and what is told of it", () => {
    const own = ofLayer(field({
      axes: [{ name: "layer", ticks: ["a", "b"] }, { name: "bin", ticks: [0, 1] }], values: [1, 2, 3, 4],
      about: { top: { a: [9], b: [7] }, other: 1 },
    }), "b");
    expect([own?.values, own?.about, own?.axes.length]).toEqual([[3, 4], { top: [7], other: 1 }, 1]);
  });
  it("give nothing of an unknown layer", () =>
    expect(ofLayer(field({ axes: [{ name: "layer", ticks: ["a"] }], values: [1] }), "z")).toBeNull());
  it("take only points that are points", () => expect(pointsOf([[1, 2], [3], "x", null])).toEqual([[1, 2]]));
});

describe("a histogram", () => {
  const made = (values: (number | null)[]) =>
    bars(field({ axes: [{ name: "bin", ticks: ["zero", -3, -2, -1, 0] }], values }));
  it("keeps zeros and overflow apart from its bars", () => {
    const one = made([5, 1, 2, 0, 2]);
    expect([one?.zero, one?.overflow, one?.shares, one?.edges]).toEqual([0.5, 0.2, [0.1, 0.2, 0], [-3, -2, -1, 0]]);
  });
  it("has a median of what is not zero", () => expect(median(made([5, 0, 4, 0, 0]) ?? { step: 0, edges: [], shares: [], zero: 0, overflow: 0 })).toBe(-1.5));
  it("has none where all are zero", () => {
    const one = made([4, 0, 0, 0, 0]);
    expect(one && median(one)).toBeNull();
  });
  it("is none without elements", () => expect(made([0, 0, null, 0, 0])).toBeNull());
  it("shows the bars that are used, with air", () => {
    const one = made([0, 1, 0, 0, 0]);
    expect(one && filled([one])).toEqual([0, 2]);
  });
  it("asks for few steps, with the wanted and the last among them", () => {
    const steps = Array.from({ length: 1000 }, (_, at) => at);
    const asked = spread(steps, 501);
    expect(asked.length).toBeLessThan(30);
    expect(asked).toContain(501);
    expect(asked.at(-1)).toBe(999);
  });
});

describe("a spectrum", () => {
  const axes = [{ name: "eigenvalue", ticks: [-1, 0, 1, 2] }];
  it("tells the share below zero", () =>
    expect(spectrumOf(field({ axes, values: [0, 1, 1, 0] }))?.below).toBeCloseTo(0.25, 9));
  it("does not count what smoothing alone takes there", () => {
    const ticks = [-3, -2, -1, 0, 1];
    const told = field({ axes: [{ name: "eigenvalue", ticks }], values: [0, 0, 1, 4, 1], about: { width: 0.7 } });
    expect(spectrumOf(told)?.below).toBe(0);
  });
  it("has its largest first", () =>
    expect(spectrumOf(field({ axes, values: [0, 1, 1, 0], about: { top: [1, 3, 2] } }))?.top).toEqual([3, 2, 1]));
  it("is none without an axis of eigenvalues", () => expect(spectrumOf(field({ values: [1] }))).toBeNull());
  it("is drawn over decades", () => expect(decadesOf([5, 0.02])).toEqual([-4, 1]));
});
