// A loss curve in the space of a word: lows and highs in, a small drawing out.
import { useMemo } from "preact/hooks";
import type { Spark as Values } from "../data";

const WIDTH = 132;
const HEIGHT = 30;
const INSET = 2;

export function Spark({ values }: { values: Values | null }) {
  const path = useMemo(() => (values ? sparkPath(values) : ""), [values]);
  return (
    <svg class="spark" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} width={WIDTH} height={HEIGHT} aria-hidden="true">
      {path && <path d={path} />}
    </svg>
  );
}

/** Along the lows, and up to the high of each bin: what stands out is seen. */
export function sparkPath({ low, high }: Values): string {
  const numbers = [...low, ...high].filter((value) => value !== null);
  const [from, to] = scaleOf(numbers);
  const y = (value: number): string =>
    (HEIGHT - INSET - (Math.min(Math.max((value - from) / (to - from || 1), 0), 1)) * (HEIGHT - 2 * INSET)).toFixed(1);
  let pen = false;
  const parts = low.map((bottom, at) => {
    const top = high[at] ?? bottom;
    if (bottom === null || top === null) {
      pen = false;
      return "";
    }
    const x = (INSET + (at / Math.max(low.length - 1, 1)) * (WIDTH - 2 * INSET)).toFixed(1);
    const start = pen ? "L" : "M";
    pen = true;
    return `${start}${x} ${y(bottom)}V${y(top)}`;
  });
  return parts.join("");
}

/** Lowest to highest, but for a top that would flatten all the rest. */
function scaleOf(numbers: number[]): [number, number] {
  const sorted = [...numbers].sort((a, b) => a - b);
  const low = sorted[0] ?? 0;
  const high = sorted[sorted.length - 1] ?? 1;
  const most = sorted[Math.floor(0.9 * (sorted.length - 1))] ?? high;
  return [low, Math.min(high, low + 6 * (most - low) || high)];
}
