// Numbers for people: a number in, a short text out.

const SUPERSCRIPT = "⁰¹²³⁴⁵⁶⁷⁸⁹";

export function superscript(exponent: number): string {
  const digits = String(Math.abs(exponent))
    .split("")
    .map((digit) => SUPERSCRIPT[Number(digit)] ?? digit)
    .join("");
  return (exponent < 0 ? "⁻" : "") + digits;
}

/** Three significant digits; powers of ten outside 0.001 to 100,000. */
export function number(value: number | string | null | undefined, digits = 3): string {
  if (value === null || value === undefined) return "no number";
  if (typeof value === "string") return special(value);
  if (Number.isNaN(value)) return "not a number";
  if (!Number.isFinite(value)) return value > 0 ? "infinite" : "−infinite";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return scientific(value, digits);
  if (Number.isInteger(value)) return minus(value.toLocaleString("en-US"));
  const shown = Number(value.toPrecision(digits));
  return minus(
    shown.toLocaleString("en-US", { maximumSignificantDigits: Math.max(digits, 3) }),
  );
}

/** Infinities and NaN travel as words, because JSON has no numbers for them. */
function special(value: string): string {
  if (value === "nan") return "not a number";
  if (value === "inf") return "infinite";
  if (value === "-inf") return "−infinite";
  return value;
}

function scientific(value: number, digits: number): string {
  const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
  const short = String(Number(mantissa));
  const power = `10${superscript(Number(exponent))}`;
  if (short === "1") return power;
  return minus(`${short} × ${power}`);
}

function minus(text: string): string {
  return text.replace("-", "−");
}

export function step(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

export function signed(value: number | string): string {
  if (typeof value === "number" && value > 0) return `+${number(value)}`;
  return number(value);
}

export function percent(share: number): string {
  return `${Math.round(100 * share)} %`;
}

/** How far an observed value lies from its bound, in words; "" if that says nothing. */
export function distance(observed: number | string, bound: number | string): string {
  if (typeof observed !== "number" || typeof bound !== "number") return "";
  if (observed === bound) return "at the bound";
  const side = observed > bound ? "above" : "below";
  if (observed <= 0 || bound <= 0) return `${side} the bound`;
  const ratio = observed > bound ? observed / bound : bound / observed;
  if (ratio < 1.05) return `just ${side}`;
  if (ratio < 2) return `${percent(Math.abs(observed / bound - 1))} ${side}`;
  return `${times(ratio)} ${side}`;
}

function times(ratio: number): string {
  if (ratio < 10) return `${Number(ratio.toPrecision(2))}×`;
  if (ratio < 1e5) return `${Number(ratio.toPrecision(2)).toLocaleString("en-US")}×`;
  return `10${superscript(Math.round(Math.log10(ratio)))}×`;
}

/** Keeps the end, which tells layers apart, and as much of the start as fits. */
export function shorten(text: string, most: number): string {
  const points = Array.from(text);
  if (points.length <= most) return text;
  const tail = Math.ceil((most - 1) * 0.7);
  const head = most - 1 - tail;
  return `${points.slice(0, head).join("")}…${points.slice(points.length - tail).join("")}`;
}
