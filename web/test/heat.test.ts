import { describe, expect, it } from "vitest";
import { type Grid, INFINITE, MISSING, ofRank, rank, TOP, unpack, ZERO } from "../src/grid";
import { columnsOn, pixelRanks } from "../src/heat";
import { heat, packed } from "./data";

const grid = (x: number[], rows: number[][]): Grid =>
  unpack(heat({ x, y: rows.map((_, at) => at), cells: packed(rows) }));
const codes = (made: Grid, range: [number, number], width: number, height = made.rows): number[] =>
  Array.from(pixelRanks(made, range, width, height), ofRank);

describe("ranks", () => {
  it("go back to their codes", () => {
    const codes = [0, 1, TOP, ZERO, INFINITE, MISSING];
    expect(codes.map(rank).map(ofRank)).toEqual(codes);
  });
});

describe("a map in pixels", () => {
  it("is one column a pixel where they are as many", () => {
    expect(codes(grid([0, 1, 2], [[5, 6, 7]]), [0, 3], 3)).toEqual([5, 6, 7]);
  });
  it("keeps the one high cell among thousands on its pixel", () => {
    const row = Array.from({ length: 5_000 }, (_, at) => (at === 3_217 ? 60_000 : at % 7));
    const seen = codes(grid(row.map((_, at) => at), [row]), [0, 5_000], 1_000);
    expect(seen.map((code, pixel) => (code === 60_000 ? pixel : -1)).filter((pixel) => pixel >= 0)).toEqual([643]);
  });
  it("places steps truly where they are uneven", () => {
    expect(codes(grid([0, 1, 2, 4, 8], [[1, 2, 3, 4, 5]]), [0, 10], 10)).toEqual([1, 2, 3, 3, 4, 4, 4, 4, 5, 5]);
  });
  it("is empty before the first step and after the last", () => {
    expect(codes(grid([10, 11], [[1, 2]]), [8, 14], 6)).toEqual([MISSING, MISSING, 1, 2, MISSING, MISSING]);
  });
  it("shows the part that one has zoomed to", () => {
    expect(codes(grid([0, 10, 20], [[1, 2, 3]]), [8, 12], 4)).toEqual([1, 1, 2, 2]);
  });
  it("ranks overflow above all and zero above nothing", () => {
    const row = [MISSING, ZERO, 3, ZERO, INFINITE, 9, MISSING, MISSING];
    expect(codes(grid(row.map((_, at) => at), [row]), [0, 8], 4)).toEqual([ZERO, 3, INFINITE, MISSING]);
  });
  it("keeps the highest of the layers that share a pixel", () => {
    expect(codes(grid([0], [[1], [8], [2], [3]]), [0, 1], 1, 2)).toEqual([8, 3]);
  });
  it("gives each pixel the columns that touch it", () => {
    const [first, last] = columnsOn([0, 4, 8], [0, 8], 3);
    expect([Array.from(first), Array.from(last)]).toEqual([[0, 0, 1], [1, 2, 2]]);
  });
});
