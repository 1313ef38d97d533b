import { describe, expect, it } from "vitest";
import { labels, paddedLog, powers } from "../src/chart";
import { moved, Pointer, zoomed } from "../src/link";
import { round } from "../src/steps";
import { roundNumbers } from "../src/views/Trials";

describe("the step axis", () => {
  it("has round steps", () => expect(round([0, 600], 6)).toEqual([0, 100, 200, 300, 400, 500, 600]));
  it("has whole steps however far one zooms in", () => expect(round([5.2, 8.1], 9)).toEqual([6, 7, 8]));
});

describe("value axes", () => {
  it("tell neighbouring labels apart", () => expect(labels([2.3, 2.325, 2.35], 0.025)).toEqual(["2.300", "2.325", "2.350"]));
  it("of a logarithmic scale are powers of ten, few of them, and of a narrow one also 2 and 5 fold", () => {
    expect(powers(1e-9, 1e3)).toEqual([1e-9, 1e-6, 1e-3, 1, 1e3].map((mark) => expect.closeTo(mark, 12)));
    expect(powers(0.3, 6)).toEqual([0.5, 1, 2, 5]);
  });
  it("of a logarithmic scale always hold a power of ten", () => {
    expect(paddedLog(2.2, 3.1)).toEqual([1, 10]);
    expect(paddedLog(null, null)).toEqual([0.1, 10]);
  });
  it("have round numbers", () => expect(roundNumbers(0.02, 1.02, 4)).toEqual([0.5, 1]));
});

describe("zooming", () => {
  it("stays inside the run", () => expect(zoomed([0, 50], 4, 10, [0, 100])).toEqual([0, 100]));
  it("keeps the place that one zooms at", () => expect(zoomed([0, 100], 0.5, 50, [0, 100])).toEqual([25, 75]));
  it("never goes below two steps", () => expect(zoomed([4, 6], 0.5, 5, [0, 100])).toEqual([4, 6]));
  it("moves up to the end", () => expect(moved([80, 90], 500, [0, 100])).toEqual([90, 100]));
});

describe("the pointer", () => {
  it("tells each follower once, until it stops following", () => {
    const pointer = new Pointer();
    const seen: (number | null)[] = [];
    const stop = pointer.follow((place) => seen.push(place.step));
    pointer.move(3);
    pointer.move(3);
    stop();
    pointer.move(4);
    expect(seen).toEqual([3]);
  });
});
