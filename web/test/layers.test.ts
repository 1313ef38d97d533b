import { describe, expect, it } from "vitest";
import { brief, labelled, sharedPrefix } from "../src/heat";
import { rowFor, rowsOf } from "../src/layers";

const names = ["net.0.weight", "net.0.bias", "net.2.weight", "net.20.weight"];

describe("rows of a layer", () => {
  it("are its own", () => expect(rowsOf("net.2.weight", names)).toEqual([2]));
  it("are its parameters for a module", () => expect(rowsOf("net.0", names)).toEqual([0, 1]));
  it("are its module for a parameter", () => expect(rowsOf("net.2.weight", ["net.1", "net.2"])).toEqual([1]));
  it("are the closest module", () => expect(rowsOf("a.b.weight", ["a", "a.b"])).toEqual([1]));
  it("are none for the whole run", () => expect(rowsOf("run", names)).toEqual([]));
  it("are those before it for a layer without any", () => {
    expect(rowFor("net.3", names, [])).toBe(2);
    expect(rowFor("11", ["0.weight", "2.weight", "12.weight"], [2])).toBe(1);
    expect(rowFor("run", names, [3])).toBe(3);
  });
  it("fall back to the accused", () => expect(rowFor("gone.weight", names, [3])).toBe(3));
});

describe("labels", () => {
  it("do not touch, and keep the accused", () => {
    const many = Array.from({ length: 200 }, (_, at) => `blocks.${at}.weight`);
    const rows = labelled({ names: many, accused: new Set([101]), selected: 103 }, 2, 14);
    expect(rows).toContain(101);
    const sorted = [...rows].sort((a, b) => a - b);
    sorted.slice(1).forEach((row, at) => expect(row - (sorted[at] ?? 0)).toBeGreaterThanOrEqual(7));
  });
  it("leave out what all share", () => expect(sharedPrefix(names)).toBe(4));
  it("are brief on a phone", () => {
    expect(brief("7.attn.qkv.weight", 6)).toBe("7…qkv");
    expect(brief("0.bias", 6)).toBe("0.b");
  });
});
