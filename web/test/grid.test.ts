import { describe, expect, it } from "vitest";
import { codeAt, columnAt, rowValues, unpack, value } from "../src/grid";
import { heat, packed } from "./data";

describe("a packed map", () => {
  const grid = unpack(heat());
  it("gives back values on its logarithmic scale", () => {
    expect(rowValues(grid, 0)).toEqual([0.001, expect.closeTo(10 ** -1.5, 6), 1]);
  });
  it("keeps zero, overflow and absence apart", () => {
    expect([0, 1, 2].map((column) => value(grid, codeAt(grid, 1, column)))).toEqual([0, Infinity, null]);
  });
  it("finds the column of a step, also between and beyond columns", () => {
    expect([-5, 0, 9, 10, 19.9, 25, 999].map((step) => columnAt(grid, step))).toEqual([0, 0, 0, 1, 1, 2, 2]);
  });
  it("lets the last column last as long as the others", () => expect(grid.edges).toEqual([0, 10, 20, 30]));
  it("shows cells that are missing from the file as absent", () => {
    const short = unpack(heat({ cells: packed([[0]]) }));
    expect(rowValues(short, 0)).toEqual([0.001, null, null]);
  });
});
