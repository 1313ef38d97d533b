import { describe, expect, it } from "vitest";
import type { FieldData } from "../src/data";
import { finer, holesOf, landOf, lossOf, heightOf, reliefOf, type Land } from "../src/land";
import { gaps, lineOf, nearestPoint, roundMarks, scaleOf } from "../src/line";
import { axisName, computed, extent, missing } from "../src/slice";
import { matrixOf, spectrumOf } from "../src/spectrum";
import { walked } from "../src/views/ContourPlot";
import { choicesOf } from "../src/views/Landscape";
import { stepped } from "../src/views/LossLine";

const NINE = [[-1, 0, 1], [-1, 0, 1]] as const;

function field(values: (number | null)[], about: Record<string, unknown> = {}, axes: readonly (readonly number[])[] = NINE): FieldData {
  const names = ["alpha", "beta"];
  return {
    kind: "landscape", step: 5, title: "t", unit: "", values, about,
    axes: axes.map((ticks, at) => ({ name: names[at] ?? "", ticks: [...ticks] })),
  };
}

function land(values: (number | null)[], about: Record<string, unknown> = {}): Land {
  const found = landOf(field(values, about));
  if (!found) throw new Error("no land");
  return found;
}

const BOWL = [2, 1, 2, 1, 0.5, 1, 2, 1, 2];

describe("what was computed", () => {
  it("is marked, and told with the error of the rest", () => {
    const found = land(BOWL, { evaluated: [[0, 0], [2, 1], [9, 9]], error: { median: 0.001, p95: 0.02, max: 0.05 } });
    expect(found.dots).toEqual([[0, 0], [2, 1]]);
    expect(computed(found)).toBe("2 of 9 points computed; elsewhere interpolated, error 0.1 % median, 2 % p95 of the range.");
  });
  it("is not marked where it is all", () => {
    const every = [0, 1, 2].flatMap((column) => [0, 1, 2].map((row) => [column, row]));
    expect([land(BOWL, { evaluated: every }).dots, computed(land(BOWL, { evaluated: every }))]).toEqual([[], "All 9 points were computed."]);
  });
  it("tells no error that was not estimated", () =>
    expect(computed(land(BOWL, { evaluated: [[0, 0]], error: { median: "nan" } }))).toBe("1 of 9 points computed; elsewhere interpolated."));
});

describe("what is not finite", () => {
  const holed = land([2, 1, 2, 1, 0.5, 1, 2, 1, null]);
  it("leaves the cells around it open", () => {
    expect(holesOf(holed)).toEqual([[1, 1]]);
    expect(holesOf(land(BOWL))).toEqual([]);
    expect(missing(holed)).toContain("1 point without a finite loss");
    expect(missing(land(BOWL))).toBe("");
  });
  it("is not painted over by what is drawn finer", () => {
    const { heights, columns, times } = reliefOf(holed, false);
    const at = (column: number, row: number): number => heights[Math.round(row * times) * columns + Math.round(column * times)] ?? NaN;
    expect(at(1.5, 1.5)).toBeNaN();
    expect(at(2, 2)).toBeNaN();
    expect(at(0.5, 0.5)).not.toBeNaN();
    expect([at(1, 1), at(0, 0)]).toEqual([0, 1]);
  });
});

describe("a finer line", () => {
  it("follows a bowl between its points", () => {
    const line = Float64Array.of(4, 1, 0, 1, 4);
    finer(line, 4).slice(4, 13).forEach((one, at) => expect(one).toBeCloseTo((at / 4 - 1) ** 2, 12));
  });
  it("goes through its points, and makes no ripples beside a cliff", () => {
    const line = Float64Array.of(0, 0, 1, 1, 0.4);
    const out = finer(line, 8);
    expect([...line.keys()].map((at) => out[8 * at])).toEqual([...line]);
    expect(Math.min(...out)).toBe(0);
    expect(Math.max(...out)).toBe(1);
    expect([...out.slice(0, 9)].every((one) => one === 0)).toBe(true);
  });
  it("keeps a straight line straight", () => {
    finer(Float64Array.of(1, 2, 3), 4).forEach((one, at) => expect(one).toBeCloseTo(1 + at / 4, 12));
  });
  it("stops beside a missing point", () =>
    expect([...finer(Float64Array.of(0, 1, NaN, 1, 0), 2)]).toEqual([0, 0.5, 1, NaN, NaN, NaN, 1, 0.5, 0]));
});

describe("a drawn height", () => {
  it.each([true, false])("leads back to its loss, logarithmic %s", (log) => {
    const one = land(BOWL);
    for (const loss of [0.5, 0.9, 2]) expect(lossOf(one, log)(heightOf(one, log)(loss))).toBeCloseTo(loss, 12);
  });
});

describe("marks", () => {
  it("have a place and a name; what has no place is left out", () => {
    const marks = [{ at: [0, 1], label: "a" }, { at: ["x"], label: "b" }, null, { at: [1], label: "c" }];
    expect(land(BOWL, { marks }).marks).toEqual([{ at: [0, 1], label: "a" }]);
  });
});

describe("a line", () => {
  const made = lineOf(field([3, null, 1, 2, 4], { evaluated: [[0], [2]], marks: [{ at: [0.5], label: "m" }, { at: 2, label: "n" }] }, [[-2, -1, 0, 1, 2]]));
  it("has gaps where there is no number", () => {
    expect(made && [made.holes, gaps(made)]).toEqual([1, [[-2, 0]]]);
    expect(made?.loss[1]).toBeNaN();
  });
  it("has its marks and what was computed", () => {
    expect(made?.dots).toEqual([0, 2]);
    expect(made?.marks).toEqual([{ at: 0.5, label: "m" }, { at: 2, label: "n" }]);
  });
  it("is none of two directions, or without numbers", () => {
    expect(lineOf(field(BOWL))).toBeNull();
    expect(lineOf(field([null, null], {}, [[0, 1]]))).toBeNull();
  });
  it("is pointed at where it is nearest", () => expect(nearestPoint([-1, 0, 1], 0.4)).toBe(1));
  it("has air around it on either scale", () => {
    expect(scaleOf({ range: [1, 2] }, false)[0]).toBeLessThan(1);
    expect(scaleOf({ range: [1, 100] }, true)[0]).toBeGreaterThan(0);
    expect(scaleOf({ range: [3, 3] }, false)).not.toEqual([3, 3]);
  });
  it("has round numbers beside it", () => expect(roundMarks([-0.52, 1.1], 4)).toEqual([-0.5, 0, 0.5, 1]));
  it("is walked by keys", () => {
    expect([stepped({ key: "ArrowRight" }, 5, null), stepped({ key: "ArrowRight" }, 5, 4), stepped({ key: "Home" }, 5, 3)]).toEqual([2, 4, 0]);
    expect([stepped({ key: "Escape" }, 5, 3), stepped({ key: "a" }, 5, 3)]).toEqual([null, undefined]);
  });
});

describe("the map", () => {
  const plan = { alpha: [0, 1, 2], beta: [0, 1] };
  it("is walked by keys, from the middle, and is not left", () => {
    expect(walked({ key: "ArrowUp" }, plan, null)).toEqual([1, 1]);
    expect(walked({ key: "ArrowUp" }, plan, [1.2, 1])).toEqual([1, 1]);
    expect(walked({ key: "ArrowLeft" }, plan, [1, 0])).toEqual([0, 0]);
    expect([walked({ key: "Escape" }, plan, [1, 0]), walked({ key: "Tab" }, plan, [1, 0])]).toEqual([null, undefined]);
  });
});

describe("words about a slice", () => {
  it("name the axes, with the share of the path that they hold", () => {
    expect(axisName({ directions: ["PCA 1"], explained: [0.712] }, 0)).toBe("α: PCA 1, 71 % of the path");
    expect(axisName({ directions: [], explained: [] }, 1)).toBe("β");
  });
  it("tell range and mode", () =>
    expect(extent({ quantity: "loss", range: [0.1, 2], mode: "eval" })).toBe("Loss from 0.1 to 2, in evaluation mode."));
});

describe("the chooser", () => {
  const offer = (kind: string, steps: number[], titles: string[]) => ({ kind, title: kind, steps, titles, layers: [] });
  it("tells the step where a title comes twice", () =>
    expect(choicesOf([offer("landscape", [5, 9, 9], ["a", "a", "b"]), offer("convexity", [9], ["c"])]).map((one) => one.label))
      .toEqual(["a, step 5", "a, step 9", "b", "c"]));
});

describe("a spectrum's largest", () => {
  const axes = [{ name: "eigenvalue", ticks: [0, 1] }];
  const made = spectrumOf({ ...field([1, 1]), axes, about: { top: [1, 3], errors: [0.1, 0.3], operator: "ggn", products: 1200 } });
  it("keep their errors when they are put in order", () => expect([made?.top, made?.errors]).toEqual([[3, 1], [0.3, 0.1]]));
  it("belong to a matrix, at a price", () => expect(made && matrixOf(made)).toBe("Gauss–Newton matrix, 1,200 products"));
  it("may come with one error of the whole density", () => {
    const told = spectrumOf({ ...field([1, 1]), axes, about: { top: [1], errors: 0.02 } });
    expect([told?.noise, told?.errors]).toEqual([0.02, [null]]);
  });
  it("need neither", () => {
    const bare = spectrumOf({ ...field([1, 1]), axes, about: { top: [1] } });
    expect([bare?.errors, bare && matrixOf(bare)]).toEqual([[null], ""]);
  });
});
