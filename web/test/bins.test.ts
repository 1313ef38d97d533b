import { describe, expect, it } from "vitest";
import { appended, coarsened, recoded, tailStart } from "../src/bins";
import type { HeatPanel, LinePanel } from "../src/data";
import { codesOf, INFINITE, MISSING, TOP, unpack, value, ZERO } from "../src/grid";
import { heat, line, packed } from "./data";

const codes = (panel: HeatPanel): number[][] => {
  const all = Array.from(codesOf(panel));
  return panel.y.map((_, row) => all.slice(row * panel.x.length, (row + 1) * panel.x.length));
};

describe("a line that grows", () => {
  const held = line({ x: [0, 4, 8], width: 4, low: [[1, 2, 3]], high: [[1, 5, 3]] });
  it("is asked for from the start of its last bin", () => {
    expect(tailStart(held)).toBe(8);
    expect(tailStart({ ...held, x: [0, 4, 9] })).toBe(8);
  });
  it("has its last bin replaced and new ones put behind", () => {
    const longer = appended(held, line({ x: [8, 12], width: 4, low: [[0, 7]], high: [[9, 7]] }));
    expect(longer.x).toEqual([0, 4, 8, 12]);
    expect([longer.low, longer.high]).toEqual([[[1, 2, 0, 7]], [[1, 5, 9, 7]]]);
  });
  it("replaces a last bin whose first step is not its start", () => {
    const longer = appended({ ...held, x: [0, 4, 9] }, line({ x: [9, 12], width: 4, low: [[0, 7]], high: null }));
    expect([longer.x, longer.high]).toEqual([[0, 4, 9, 12], [[1, 5, 0, 7]]]);
  });
  it("stays as it is without anything new", () => expect(appended(held, line({ x: [], low: [[]] }))).toBe(held));
  it("stays one value a bin where both are", () => {
    const single = line({ x: [0, 1], width: 1, low: [[1, 2]], high: null });
    expect(appended(single, line({ x: [1, 2], width: 1, low: [[2, 3]], high: null })).high).toBeNull();
  });
  it("takes up a line that begins later", () => {
    const longer = appended(held, line({ x: [8], width: 4, y: ["loss", "new"], low: [[1], [6]], high: null }));
    expect([longer.y, longer.low]).toEqual([["loss", "new"], [[1, 2, 1], [null, null, 6]]]);
  });
  it("keeps marks before the tail and takes the tail's", () => {
    const mark = (step: number) => ({ label: "not finite", step, layer: null });
    const longer = appended({ ...held, marks: [mark(2), mark(9)] }, line({ x: [8], width: 4, low: [[1]], marks: [mark(10)] }));
    expect(longer.marks.map((one) => one.step)).toEqual([2, 10]);
  });
  it("halves its bins when there are too many, and keeps a spike of one step", () => {
    let grown: LinePanel = line({ x: [0], width: 1, low: [[0]], high: null });
    for (let step = 1; step < 20_000; step += 50) {
      const start = tailStart(grown);
      const steps = Array.from({ length: step + 50 - start }, (_, at) => start + at);
      const part = line({ x: steps, width: 1, low: [steps.map((at) => (at === 7_777 ? 99 : at % 3))], high: null });
      let binned = part;
      while (binned.width < grown.width) binned = coarsened(binned);
      grown = appended(grown, binned);
    }
    expect(grown.x.length).toBeLessThanOrEqual(4_000);
    expect(grown.width).toBe(8);
    expect(grown.high?.[0]?.filter((one) => one === 99)).toHaveLength(1);
    expect(grown.x.every((step) => step % 8 === 0)).toBe(true);
  });
  it("makes of two bins one that has the lowest and the highest", () => {
    const coarse = coarsened(line({ x: [0, 1, 2, 5], width: 1, low: [[4, 3, null, 2]], high: null }));
    expect([coarse.x, coarse.width]).toEqual([[0, 2, 5], 2]);
    expect([coarse.low, coarse.high]).toEqual([[[3, null, 2]], [[4, null, 2]]]);
  });
});

describe("a map that grows", () => {
  const held = heat({ x: [0, 1], width: 1, range: [-2, 0], cells: packed([[0, TOP], [ZERO, INFINITE]]) });
  it("has its last column replaced", () => {
    const tail = heat({ x: [1, 2], width: 1, range: [-2, 0], cells: packed([[TOP / 2, 0], [MISSING, ZERO]]) });
    expect(codes(appended(held, tail))).toEqual([[0, TOP / 2, 0], [ZERO, MISSING, ZERO]]);
  });
  it("tells the same values on a scale that grew", () => {
    const tail = heat({ x: [2], width: 1, range: [0, 2], cells: packed([[TOP], [MISSING]]) });
    const grid = unpack(appended(held, tail));
    expect(grid.range).toEqual([-2, 2]);
    expect([0, 1, 2].map((column) => value(grid, grid.codes[column] ?? 0))).toEqual([
      expect.closeTo(0.01, 6), expect.closeTo(1, 3), expect.closeTo(100, 3),
    ]);
  });
  it("does not stretch its scale for a tail without numbers", () => {
    const tail = heat({ x: [2], width: 1, range: [0, 1], cells: packed([[MISSING], [ZERO]]) });
    expect(appended(held, tail).range).toEqual([-2, 0]);
  });
  it("puts rows where their names are, and new ones below", () => {
    const tail = heat({ x: [1, 2], width: 1, y: [1, 5], range: [-2, 0], cells: packed([[1, 2], [3, 4]]) });
    const longer = appended(held, tail);
    expect(longer.y).toEqual([0, 1, 5]);
    expect(codes(longer)).toEqual([[0, MISSING, MISSING], [ZERO, 1, 2], [MISSING, 3, 4]]);
  });
  it("keeps the highest of two columns: overflow, the scale, zero, nothing", () => {
    const coarse = coarsened(heat({
      x: [0, 1, 2, 3], width: 1, range: [0, 1],
      cells: packed([[5, 9, ZERO, 3], [INFINITE, TOP, MISSING, ZERO]]),
    }));
    expect([coarse.x, coarse.width, codes(coarse)]).toEqual([[0, 2], 2, [[9, 3], [INFINITE, ZERO]]]);
  });
  it("leaves signs that are no numbers alone on another scale", () => {
    const moved = recoded(Uint16Array.of(0, TOP, ZERO, INFINITE, MISSING), [0, 1], [-1, 1]);
    expect(Array.from(moved)).toEqual([TOP / 2, TOP, ZERO, INFINITE, MISSING]);
  });
});
