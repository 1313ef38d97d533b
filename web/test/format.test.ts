import { describe, expect, it } from "vitest";
import { distance, number, shorten, signed } from "../src/format";

describe("number", () => {
  it.each([
    [3.14159, "3.14"], [9.4e-8, "9.4 × 10⁻⁸"], [1e-5, "10⁻⁵"], [12345, "12,345"], [0, "0"],
    [-0.5, "−0.5"], [1234567, "1.23 × 10⁶"], [0.1, "0.1"], [-2e-9, "−2 × 10⁻⁹"],
    [Number.NaN, "not a number"], [Infinity, "infinite"], ["nan", "not a number"], [null, "no number"],
  ])("%s is %s", (value, text) => expect(number(value)).toBe(text));
  it("signs an effect", () => expect([signed(0.5), signed(-0.5)]).toEqual(["+0.5", "−0.5"]));
});

describe("distance", () => {
  it.each([
    [1e-9, 1e-5, "10,000× below"], [61, 6, "10× above"], [7, 5, "40 % above"], [-1, 5, "below the bound"],
    [1e-12, 1e-3, "10⁹× below"], [5, 5, "at the bound"], ["inf", 5, ""],
  ])("%s of %s is %s", (observed, bound, text) => expect(distance(observed, bound)).toBe(text));
});

describe("shorten", () => {
  it("keeps the end", () => expect(shorten("blocks.7.attn.qkv.weight", 12)).toBe("blo…v.weight"));
  it("counts emoji as one", () => expect(shorten("🙂🙂🙂", 3)).toBe("🙂🙂🙂"));
});
