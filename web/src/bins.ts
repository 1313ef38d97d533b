// Panels that grow: a panel and the part that follows it in, the longer panel out.
//
// The part is asked for from the start of the panel's last bin and with its width:
// that bin was not full when it was drawn, and is replaced.
import type { HeatPanel, LinePanel, Mark, PanelData } from "./data";
import { codesOf, MISSING, rank, TOP } from "./grid";

export const LINE_POINTS = 2_000;
/** Of one layer's line: its readings lie among those of all other layers. */
export const LAYER_POINTS = 1_000;
export const MAP_COLUMNS = 800;

/** A panel may hold twice as many bins as are asked for before two become one. */
const MOST: Record<PanelData["kind"], number> = { line: 2 * LINE_POINTS, heatmap: 2 * MAP_COLUMNS };

export function startOfBin(step: number, width: number): number {
  return Math.floor(step / width) * width;
}

/** The step from which a panel is to be asked for again. */
export function tailStart(panel: PanelData): number {
  return startOfBin(panel.x[panel.x.length - 1] ?? 0, panel.width);
}

/** The panel with its tail, coarsened once it holds too many bins. */
export function appended<P extends PanelData>(panel: P, tail: P): P {
  if (!tail.x.length) return panel;
  if (!panel.x.length) return tail;
  let [longer, part] = [panel, tail];
  while (part.width < longer.width) part = coarsened(part);
  while (longer.width < part.width) longer = coarsened(longer);
  let joined: PanelData = longer;
  if (longer.kind === "line" && part.kind === "line") joined = joinedLines(longer, part);
  if (longer.kind === "heatmap" && part.kind === "heatmap") joined = joinedMaps(longer, part);
  while (joined.x.length > MOST[joined.kind]) joined = coarsened(joined);
  return joined as P;
}

/** The panel with bins twice as wide; what was highest and lowest stays. */
export function coarsened<P extends PanelData>(panel: P): P {
  const out: PanelData = panel.kind === "line" ? coarseLines(panel) : coarseMap(panel);
  return out as P;
}

// --- lines ------------------------------------------------------------------------

type Values = (number | null)[];

function joinedLines(panel: LinePanel, tail: LinePanel): LinePanel {
  const start = startOfBin(tail.x[0] ?? 0, panel.width);
  const kept = countBefore(panel.x, start);
  const y = [...panel.y, ...tail.y.filter((label) => !panel.y.includes(label))];
  const low = (one: LinePanel) => (line: number): Values => one.low[line] ?? [];
  const high = (one: LinePanel) => (line: number): Values => (one.high ?? one.low)[line] ?? [];
  const join = (of: (one: LinePanel) => (line: number) => Values): Values[] =>
    y.map((label) => [
      ...filled(of(panel)(panel.y.indexOf(label)), kept),
      ...filled(of(tail)(tail.y.indexOf(label)), tail.x.length),
    ]);
  return {
    ...panel,
    x: [...panel.x.slice(0, kept), ...tail.x],
    y,
    low: join(low),
    high: panel.high || tail.high ? join(high) : null,
    marks: joinedMarks(panel.marks, tail.marks, start),
  };
}

function filled(values: Values, length: number): Values {
  const kept = values.slice(0, length);
  while (kept.length < length) kept.push(null);
  return kept;
}

function joinedMarks(before: Mark[], after: Mark[], start: number): Mark[] {
  return [...before.filter((mark) => (mark.step ?? 0) < start), ...after];
}

function coarseLines(panel: LinePanel): LinePanel {
  const groups = pairs(panel);
  const highs = panel.high ?? panel.low;
  return {
    ...panel,
    width: 2 * panel.width,
    x: groups.map(([first]) => panel.x[first] ?? 0),
    low: panel.low.map((values) => groups.map(([a, b]) => one(values[a], values[b], Math.min))),
    high: highs.map((values) => groups.map(([a, b]) => one(values[a], values[b], Math.max))),
  };
}

type Value = number | null | undefined;

function one(a: Value, b: Value, choose: (a: number, b: number) => number): number | null {
  if (a === null || a === undefined) return b ?? null;
  return b === null || b === undefined ? a : choose(a, b);
}

// --- maps -------------------------------------------------------------------------

function joinedMaps(panel: HeatPanel, tail: HeatPanel): HeatPanel {
  const start = startOfBin(tail.x[0] ?? 0, panel.width);
  const kept = countBefore(panel.x, start);
  const x = [...panel.x.slice(0, kept), ...tail.x];
  const y = [...panel.y, ...tail.y.filter((name) => !panel.y.includes(name))];
  const range = union(panel, tail);
  const cells = new Uint16Array(x.length * y.length).fill(MISSING);
  const place = (from: HeatPanel, first: number, count: number): void => {
    const codes = recoded(codesOf(from), from.range, range);
    from.y.forEach((name, row) => {
      const own = codes.subarray(row * from.x.length, row * from.x.length + count);
      cells.set(own, y.indexOf(name) * x.length + first);
    });
  };
  place(panel, 0, kept);
  place(tail, kept, tail.x.length);
  return { ...panel, x, y, range, cells, marks: panel.marks };
}

function union(a: HeatPanel, b: HeatPanel): [number, number] {
  const known = [a, b].filter((one) => codesOf(one).some((code) => code <= TOP)).map((one) => one.range);
  if (!known.length) return a.range;
  return [Math.min(...known.map((range) => range[0])), Math.max(...known.map((range) => range[1]))];
}

/** Codes that mean the same on another scale. */
export function recoded(codes: Uint16Array, from: [number, number], to: [number, number]): Uint16Array {
  if (from[0] === to[0] && from[1] === to[1]) return codes;
  const scale = TOP / (to[1] - to[0] || 1);
  const offset = (from[0] - to[0]) * scale;
  const factor = ((from[1] - from[0]) / TOP) * scale;
  return codes.map((code) => (code > TOP ? code : Math.min(Math.max(Math.round(offset + factor * code), 0), TOP)));
}

function coarseMap(panel: HeatPanel): HeatPanel {
  const groups = pairs(panel);
  const codes = codesOf(panel);
  const cells = new Uint16Array(groups.length * panel.y.length);
  panel.y.forEach((_, row) => {
    groups.forEach(([a, b], column) => {
      const first = codes[row * panel.x.length + a] ?? MISSING;
      const second = codes[row * panel.x.length + b] ?? MISSING;
      cells[row * groups.length + column] = rank(first) >= rank(second) ? first : second;
    });
  });
  return { ...panel, width: 2 * panel.width, x: groups.map(([first]) => panel.x[first] ?? 0), cells };
}

// --- bins -------------------------------------------------------------------------

/** Which bins fall into one of twice the width: first and last, often the same. */
function pairs(panel: PanelData): [number, number][] {
  const groups: [number, number][] = [];
  let current = NaN;
  panel.x.forEach((step, at) => {
    const start = startOfBin(step, 2 * panel.width);
    const last = groups[groups.length - 1];
    if (last && start === current) last[1] = at;
    else groups.push([at, at]);
    current = start;
  });
  return groups;
}

/** How many of ascending steps lie before one. */
export function countBefore(steps: number[], step: number): number {
  let low = 0;
  let high = steps.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((steps[middle] ?? Infinity) < step) low = middle + 1;
    else high = middle;
  }
  return low;
}
