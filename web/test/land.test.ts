import { describe, expect, it } from "vitest";
import { contour, joined } from "../src/contour";
import type { FieldData } from "../src/data";
import { between, heights, landOf, levels, logarithmic, placeOn } from "../src/land";
import { empty, fill, type Mesh, seen } from "../src/raster";
import { fine, FRONT, projection, turned } from "../src/surface";
import { keyed } from "../src/views/SurfacePlot";

function field(over: Partial<FieldData> = {}): FieldData {
  return {
    kind: "landscape", step: 5, title: "Landscape", unit: "",
    axes: [{ name: "alpha", ticks: [-1, 0, 1] }, { name: "beta", ticks: [10, 20] }],
    values: [1, 2, 3, 4, 5, null], about: { path: [[-1, 10], [1, 20], ["x", 0]], explained: [0.7, 0.2] }, ...over,
  };
}

describe("a surface", () => {
  it("has a row for each beta and a column for each alpha", () => {
    const land = landOf(field());
    expect([...(land?.loss ?? [])]).toEqual([1, 3, 5, 2, 4, NaN]);
    expect(land?.range).toEqual([1, 5]);
  });
  it("drops what is no point of a path", () => expect(landOf(field())?.path).toEqual([[-1, 10], [1, 20]]));
  it("is none without numbers", () => expect(landOf(field({ values: [null] }))).toBeNull());
  it("is drawn on a logarithmic scale where that pays", () => {
    const land = landOf(field({ values: [0.01, 0.1, 1, 10, 100, 1000] }));
    expect(land && logarithmic(land)).toEqual({ can: true, pays: true });
    expect(land && [...heights(land, true)].map((one) => Number(one.toFixed(3)))).toEqual([0, 0.4, 0.8, 0.2, 0.6, 1]);
  });
  it("is read between its points", () => {
    expect(between([0, 2, 4, 6], 2, 0.5, 0.5)).toBe(3);
    expect(between([0, 2, 4, 6], 2, 1.01, 0)).toBeNaN();
    expect([placeOn([-1, 0, 1], 0.5), placeOn([10, 20], 10), placeOn([0, 1], 3)]).toEqual([1.5, 0, 3]);
  });
  it("has round levels inside its range", () => {
    const land = landOf(field());
    const found = land ? levels(land, false, 5) : [];
    expect(found).toEqual([2, 3, 4]);
    for (const level of land ? levels(land, true) : []) expect(level).toBeGreaterThan(1);
  });
});

describe("lines of equal height", () => {
  const size = 21;
  const bowl = Float64Array.from({ length: size * size }, (_, at) => ((at % size) - 10) ** 2 + (Math.floor(at / size) - 10) ** 2);
  it("lie at their height", () => {
    for (const [x, y] of contour(bowl, size, 49).flat()) expect(Math.hypot(x - 10, y - 10)).toBeCloseTo(7, 1);
  });
  it("join to one closed line around a bowl", () => {
    const lines = joined(contour(bowl, size, 49));
    expect(lines.length).toBe(1);
    const [first, last] = [lines[0]?.[0], lines[0]?.at(-1)];
    expect(first?.[0]).toBeCloseTo(last?.[0] ?? NaN, 4);
    expect(first?.[1]).toBeCloseTo(last?.[1] ?? NaN, 4);
  });
  it("leave out cells with a missing corner", () => expect(contour([0, 1, NaN, 1], 2, 0.5)).toEqual([]));
  it("tell a saddle's sides apart by its middle", () => {
    expect(contour([1, 0, 0, 1], 2, 0.4).length).toBe(2);
    expect(contour([1, 0, 0, 1], 2, 0.4)).not.toEqual(contour([1, 0, 0, 1], 2, 0.6));
  });
});

describe("turning the surface", () => {
  const size = { columns: 3, rows: 3, width: 300, height: 200 };
  it("seen from above is the map: alpha to the right, beta upwards", () => {
    const project = projection({ turn: 0, tilt: Math.PI / 2, zoom: 1 }, size);
    const [x0, y0] = project(0, 0, 0);
    const [x1, y1] = project(2, 2, 0);
    expect(x1).toBeGreaterThan(x0);
    expect(y1).toBeLessThan(y0);
    expect(project(1, 1, 0)[1]).toBeCloseTo(project(1, 1, 1)[1], 6);
  });
  it("shows what is high above what is low, and the near before the far", () => {
    const project = projection(FRONT, size);
    expect(project(1, 1, 1)[1]).toBeLessThan(project(1, 1, 0)[1]);
    const front = projection({ ...FRONT, turn: 0 }, size);
    expect(front(1, 0, 0)[2]).toBeGreaterThan(front(1, 2, 0)[2]);
  });
  it("never tips over", () => {
    expect(turned(FRONT, { tilt: 99 }).tilt).toBe(Math.PI / 2);
    expect(turned(FRONT, { tilt: -99 }).tilt).toBeGreaterThan(0);
    expect(turned(FRONT, { zoom: 1e9 }).zoom).toBe(6);
  });
  it("answers to keys", () => {
    const press = (key: string, shiftKey = false) => keyed({ key, shiftKey }, FRONT);
    expect(press("ArrowLeft")?.turn).toBeGreaterThan(FRONT.turn);
    expect(press("ArrowUp")?.tilt).toBeGreaterThan(FRONT.tilt);
    expect(press("+")?.zoom).toBeGreaterThan(1);
    expect(press("Escape")).toEqual(FRONT);
    expect(press("a")).toBeNull();
  });
  it("cuts a path into pieces of at most half a cell", () => {
    const points = fine([[0, 0], [3, 4]]);
    expect(points.length).toBe(11);
    expect(points.at(-1)).toEqual([3, 4]);
  });
});

describe("filling triangles", () => {
  const mesh = (over: Partial<Mesh> = {}): Mesh => ({
    columns: 2, x: Float32Array.of(1, 9, 1, 9), y: Float32Array.of(1, 1, 9, 9),
    depth: Float32Array.of(0, 0, 0, 0), height: Float32Array.of(0, 1, 0, 1), light: Float32Array.of(1, 1, 1, 1), ...over,
  });
  it("fills a square without a seam and nothing beside it", () => {
    const pixels = empty(10, 10);
    fill(pixels, mesh());
    const filled = [...pixels.colours].flatMap((colour, at) => (colour ? [[at % 10, Math.floor(at / 10)]] : []));
    expect(filled.length).toBe(64);
    for (const place of filled) for (const one of place) expect(one).toSatisfy((at: number) => at >= 1 && at <= 8);
  });
  it("keeps what is nearer, whichever comes first", () => {
    const [first, last] = [empty(10, 10), empty(10, 10)];
    const near = mesh({ depth: Float32Array.of(1, 1, 1, 1), height: Float32Array.of(1, 1, 1, 1) });
    fill(first, near); fill(first, mesh());
    fill(last, mesh()); fill(last, near);
    expect(first.colours).toEqual(last.colours);
    expect([seen(last, [5, 5], 0.5), seen(last, [5, 5], 2), seen(last, [50, 5], -9)]).toEqual([false, true, true]);
  });
  it("leaves a hole where there is no height", () => {
    const pixels = empty(10, 10);
    fill(pixels, mesh({ height: Float32Array.of(NaN, 1, 0, 1) }));
    expect([pixels.colours[2 * 10 + 2], pixels.colours[8 * 10 + 8]?.valueOf() !== 0]).toEqual([0, true]);
  });
  it("stays inside the picture", () => {
    const pixels = empty(4, 4);
    fill(pixels, mesh({ x: Float32Array.of(-50, 60, -50, 60), y: Float32Array.of(-50, -50, 60, 60) }));
    expect([...pixels.colours].every((colour) => colour !== 0)).toBe(true);
  });
});
