import { describe, expect, it } from "vitest";
import { viridis } from "../src/colours";
import { faded } from "../src/theme";

/** CIE lightness, 0 to 100. */
function lightness(rgb: number[]): number {
  const [r = 0, g = 0, b = 0] = rgb.map((channel) => {
    const share = channel / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  const y = 0.2126 * r + 0.7152 * g + 0.0722 * b;
  return y <= 0.008856 ? 903.3 * y : 116 * Math.cbrt(y) - 16;
}

describe("the map's colours", () => {
  const shades = Array.from({ length: 65 }, (_, at) => lightness(viridis(at / 64)));
  it("grow lighter with the value, evenly", () => {
    const gains = shades.slice(1).map((shade, at) => shade - (shades[at] ?? 0));
    const mean = gains.reduce((sum, gain) => sum + gain, 0) / gains.length;
    expect(Math.min(...gains)).toBeGreaterThan(0);
    expect(Math.max(...gains)).toBeLessThan(2 * mean);
  });
  it("stay inside their ends", () => expect(viridis(7)).toEqual(viridis(1)));
});

describe("faded", () => {
  it.each([["#abc", "rgb(170 187 204 / 30%)"], ["#0d62b3", "rgb(13 98 179 / 30%)"]])(
    "%s", (colour, text) => expect(faded(colour, 0.3)).toBe(text));
});
