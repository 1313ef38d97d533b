import { describe, expect, it } from "vitest";
import { unpack } from "../src/grid";
import { bandAt, bands, OTHERS, stacked } from "../src/shares";
import { curvature, beyond, largestAt, tracked } from "../src/sharpness";
import type { LinePanel } from "../src/data";
import { heat, packed } from "./data";

/** Codes on a linear scale from -65 to 0, so that code c is -65 + c / 1000. */
function signed(rows: number[][]) {
  const codes = rows.map((row) => row.map((value) => Math.round((value + 65) * 1000)));
  return unpack(heat({ log: false, range: [-65, 0], x: [0, 10, 30], y: rows.map((_, at) => at), cells: packed(codes) }));
}

describe("shares of the updates", () => {
  const grid = signed([[-1, -6, 0], [-3, -2, 0], [0, -2, 0]]);
  it("sum to 1 at each step that has readings", () => {
    const found = bands(grid, ["a", "b", "c"]);
    const sums = [0, 1].map((column) => found.reduce((sum, band) => sum + (band.shares[column] ?? 0), 0));
    expect(sums).toEqual([expect.closeTo(1, 9), expect.closeTo(1, 9)]);
    expect(found.map((band) => band.shares[2])).toEqual([null, null, null]);
  });
  it("are sizes, whatever their sign", () =>
    expect(bands(grid, ["a", "b", "c"])[1]?.shares[0]).toBeCloseTo(0.75, 3));
  it("keep the order of the net, and gather what is small", () => {
    const found = bands(grid, ["a", "b", "c"], 2);
    expect(found.map((band) => band.name)).toEqual(["a", "b", OTHERS]);
    expect(found[2]?.shares[1]).toBeCloseTo(0.2, 3);
  });
  it("count each reading for the steps that it stands for", () =>
    // 10 steps with a quarter, 20 with six tenths; the last column tells nothing.
    expect(bands(grid, ["a", "b", "c"])[0]?.mean).toBeCloseTo((10 * 0.25 + 20 * 0.6) / 30, 3));
  it("are found by a place in the picture", () => {
    const found = bands(grid, ["a", "b", "c"]);
    expect(stacked(found, 0).map(([from, to]) => [from, to])).toEqual([
      [0, expect.closeTo(0.25, 3)], [expect.closeTo(0.25, 3), expect.closeTo(1, 3)], [expect.closeTo(1, 3), expect.closeTo(1, 3)]]);
    expect([0.1, 0.5, 1.5].map((height) => bandAt(found, 0, height))).toEqual([0, 1, null]);
  });
});

function line(x: number[], low: (number | null)[], over: Partial<LinePanel> = {}): LinePanel {
  return { kind: "line", title: "", unit: "", log: false, x, width: 1, y: ["run"], low: [low], high: null, marks: [], ...over };
}

describe("curvature and its edge", () => {
  const rate = line([0, 1, 2, 3, 4], [0.1, 0.1, 0.2, 0.2, 0]);
  it("divides by the learning rate of the step", () => {
    const found = curvature(line([1, 3], [1, 2]), rate);
    expect(found?.panel.x).toEqual([0, 1, 2, 3, 4]);
    expect(found?.panel.low[0]).toEqual([null, 10, null, 10, null]);
  });
  it("draws an edge that moves with the schedule, and none where nothing moves", () =>
    expect(curvature(line([1, 3], [1, 2]), rate)?.panel.low[1]).toEqual([20, 20, 10, 10, null]));
  it("takes the largest rate of several groups, in the last bin before", () => {
    const groups = line([0, 8], [0.1, 0.2], { low: [[0.1, 0.2], [0.5, 0.1]], y: ["a", "b"] });
    expect([3, 100].map((step) => largestAt(groups, step))).toEqual([0.5, 0.2]);
  });
  it("tells readings that a logarithmic scale cannot show", () =>
    expect(curvature(line([1, 3], [-1, 2]), rate)?.negative).toBe(1));
  it("is nothing without readings", () => expect(curvature(line([1], [null]), rate)).toBeNull());
  it("counts what lies beyond", () => expect(beyond(line([0, 1, 2], [1, 3, null]))).toEqual({ beyond: 1, of: 2 }));
});

describe("tracked sharpness", () => {
  // The rate is 0.1, from step 40 on 0.05: the line of plain descent is 20, then 40.
  const lr = line([0, 20, 40, 60], [0.1, 0.1, 0.05, 0.05]);
  const sharpness = line([10, 30, 50], [10, 19, 20]);
  const panels = {
    lr, sharpness, stability_ratio: line([10, 30, 50], [0.5, 0.95, 0.5]),
    sharpness_error: line([10, 30, 50], [0.1, 0.1, 0.1]), sharpness_sampling_error: line([10], [2]),
  };
  it("lies beside a line that moves with the schedule", () => {
    const found = tracked(panels);
    expect(found?.panel.y.slice(0, 2)).toEqual(["sharpness", "2 / learning rate"]);
    expect(found?.panel.x).toEqual([0, 10, 20, 30, 40, 50, 60]);
    expect(found?.panel.low[1]).toEqual([20, 20, 20, 20, 40, 40, 40].map((edge) => expect.closeTo(edge, 6)));
  });
  it("has a band of the solver's and the sampling's error", () => {
    const found = tracked(panels);
    expect(found?.sampling).toBeCloseTo(0.2, 9);
    expect([found?.band, found?.panel.low[0]?.[3]]).toEqual([2, 19]);
    expect(found?.panel.low[2]?.[3]).toBeCloseTo(19 - 3.9, 6);
    expect(found?.panel.high?.[2]?.[3]).toBeCloseTo(19 + 3.9, 6);
    expect(found?.panel.low[2]?.[4]).toBeNull();
  });
  it("is held against the line in the scale of an adaptive optimizer", () => {
    const scaled = line([10, 30, 50], [380, 190, 760]);
    const found = tracked({ ...panels, preconditioned_sharpness: scaled, stability_ratio: line([10, 30, 50], [1, 0.5, 1]) });
    expect(found?.scaled).toBe(true);
    expect(found?.panel.y).toEqual(["preconditioned", "38 / learning rate", "sharpness", "on other rows"]);
  });
  it("is logarithmic where readings are far apart only", () => {
    expect(tracked(panels)?.panel.log).toBe(false);
    expect(tracked({ lr, sharpness: line([10, 30, 50], [1, 19, 40]) })?.panel.log).toBe(true);
  });
  it("counts what lies beyond, and draws no line that is not known", () => {
    expect(tracked({ ...panels, stability_ratio: line([10, 30], [0.5, 1.2]) })?.count).toEqual({ beyond: 1, of: 2 });
    const bare = tracked({ lr, sharpness });
    expect(bare?.panel.y).toEqual(["sharpness"]);
    expect([bare?.count, bare?.sampling]).toEqual([null, null]);
  });
  it("ends the line where a schedule takes it far above all readings", () => {
    const ended = tracked({ ...panels, lr: line([0, 20, 40, 60], [0.1, 0.1, 0.05, 1e-6]) });
    expect(ended?.panel.low[1]?.slice(-2)).toEqual([expect.closeTo(40, 6), null]);
  });
  it("is nothing where it was not tracked", () => expect(tracked({ lr })).toBeNull());
});
