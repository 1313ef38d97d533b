// The loss along one direction: a recorded field in, points of a line on a canvas out.
import type { FieldData } from "./data";
import { number, shorten, superscript } from "./format";
import { hatch } from "./hatch";
import type { Frame } from "./heat";
import { marksOf, type Told, toldOf } from "./land";
import { FONT } from "./steps";
import { sign } from "./surface";
import type { Palette } from "./theme";

export interface LossLine extends Told {
  alpha: number[];
  /** NaN where there is no number. */
  loss: number[];
  marks: { at: number; label: string }[];
  /** Indexes of what was computed; empty where all of it was. */
  dots: number[];
}

/** Null for a field that is no line of numbers. */
export function lineOf(field: FieldData): LossLine | null {
  const [axis, ...rest] = field.axes;
  const alpha = (axis?.ticks ?? []).map(Number);
  if (rest.length || alpha.length < 2) return null;
  const loss = alpha.map((_, at) => field.values[at] ?? NaN);
  const told = toldOf(field, loss);
  if (!told) return null;
  const listed = field.about["evaluated"];
  const dots = (Array.isArray(listed) ? listed : [])
    .map((one: unknown) => (Array.isArray(one) ? (one[0] as unknown) : one))
    .filter((one): one is number => typeof one === "number" && one in alpha);
  return {
    ...told, alpha, loss, computed: dots.length || told.points, dots: dots.length < told.points ? dots : [],
    marks: marksOf(field).map(({ at: [a], label }) => ({ at: a, label })),
  };
}

/** Losses of the axis: round, with air above and below; on a logarithmic one all above zero. */
export function scaleOf({ range: [low, high] }: Pick<Told, "range">, log: boolean): [number, number] {
  if (log) {
    const air = Math.max(Math.log10(high / low) * 0.06, 0.02);
    return [low / 10 ** air, high * 10 ** air];
  }
  const air = (high - low || Math.abs(high) || 1) * 0.06;
  return [low - air, high + air];
}

/** Index of the point nearest to a place on the axis. */
export function nearestPoint(alpha: number[], at: number): number {
  return alpha.reduce((best, one, index) => (Math.abs(one - at) < Math.abs((alpha[best] ?? 0) - at) ? index : best), 0);
}

/** Round numbers of an axis. */
export function roundMarks([low, high]: [number, number], count: number): number[] {
  const rough = (high - low) / Math.max(count, 1) || 1;
  const ten = 10 ** Math.floor(Math.log10(rough));
  const gap = [1, 2, 5, 10].map((one) => one * ten).find((one) => one >= rough) ?? 10 * ten;
  const first = Math.ceil(low / gap - 1e-9);
  const length = Math.max(Math.floor(high / gap + 1e-9) - first + 1, 0);
  return Array.from({ length }, (_, at) => Number(((first + at) * gap).toPrecision(12)));
}

function powers([low, high]: [number, number]): number[] {
  const marks = high / low > 1000 ? [1] : [1, 2, 5];
  const [from, to] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  return Array.from({ length: to - from + 1 }, (_, at) => marks.map((one) => one * 10 ** (from + at)))
    .flat().filter((one) => one >= low && one <= high);
}

export interface Sheet {
  line: LossLine;
  log: boolean;
  dots: boolean;
  frame: Frame;
  colours: Palette;
  /** Index of the point that is pointed at. */
  pointed: number | null;
}

export interface Scales {
  x: (alpha: number) => number;
  y: (loss: number) => number;
}

export function scales({ line, log, frame }: Pick<Sheet, "line" | "log" | "frame">): Scales {
  const [first, last] = [Math.min(...line.alpha), Math.max(...line.alpha)];
  const drawn = (loss: number): number => (log ? Math.log10(loss) : loss);
  const [low, high] = scaleOf(line, log).map(drawn) as [number, number];
  return {
    x: (alpha) => frame.left + ((alpha - first) / (last - first)) * frame.width,
    y: (loss) => frame.top + frame.height * (1 - (drawn(loss) - low) / (high - low)),
  };
}

export function drawLine(context: CanvasRenderingContext2D, sheet: Sheet): void {
  const { line, frame, colours, pointed } = sheet;
  const own = scales(sheet);
  context.font = FONT;
  context.lineJoin = "round";
  drawRaster(context, sheet, own);
  hatch(context, gaps(line).map(([from, to]) => {
    const [left, right] = [own.x(from), own.x(to)];
    return [[left, frame.top], [right, frame.top], [right, frame.top + frame.height], [left, frame.top + frame.height]] as const;
  }).map((one) => [...one]), colours);
  context.beginPath();
  let pen = false;
  line.loss.forEach((loss, at) => {
    const known = Number.isFinite(loss);
    const [x, y] = [own.x(line.alpha[at] as number), own.y(loss)];
    if (known && pen) context.lineTo(x, y);
    else if (known) context.moveTo(x, y);
    pen = known;
  });
  context.strokeStyle = colours.lines[0] ?? colours.ink;
  context.lineWidth = 2;
  context.stroke();
  drawPoints(context, sheet, own);
  drawLabels(context, sheet, own);
  const at = pointed === null ? NaN : line.loss[pointed] ?? NaN;
  if (pointed !== null && Number.isFinite(at)) sign(context, [own.x(line.alpha[pointed] as number), own.y(at)], { kind: "here", colours });
}

/** From and to (alpha) what has no finite loss. */
export function gaps({ alpha, loss }: Pick<LossLine, "alpha" | "loss">): [number, number][] {
  const out: [number, number][] = [];
  for (let at = 0; at + 1 < alpha.length; at++) {
    if (Number.isFinite(loss[at]) && Number.isFinite(loss[at + 1])) continue;
    const [from, to] = [alpha[at] as number, alpha[at + 1] as number];
    const last = out.at(-1);
    if (last && last[1] === from) last[1] = to;
    else out.push([from, to]);
  }
  return out;
}

function drawRaster(context: CanvasRenderingContext2D, { line, log, frame, colours }: Sheet, { x, y }: Scales): void {
  const bottom = frame.top + frame.height;
  const span = scaleOf(line, log);
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const mark of log ? powers(span) : roundMarks(span, Math.max(Math.floor(frame.height / 48), 2))) {
    context.fillStyle = colours.grid;
    context.fillRect(frame.left, Math.round(y(mark)), frame.width, 1);
    context.fillStyle = colours.soft;
    const power = Math.log10(mark);
    const plain = !log || Math.abs(power) < 4 || !Number.isInteger(power);
    context.fillText(plain ? number(mark, 2) : `10${superscript(power)}`, frame.left - 6, y(mark));
  }
  context.textAlign = "center";
  context.textBaseline = "top";
  const ends: [number, number] = [Math.min(...line.alpha), Math.max(...line.alpha)];
  for (const mark of roundMarks(ends, Math.max(Math.floor(frame.width / 90), 2))) {
    context.fillStyle = mark === 0 ? colours.edge : colours.grid;
    context.fillRect(Math.round(x(mark)), frame.top, mark === 0 ? 1.5 : 1, frame.height);
    context.fillStyle = colours.soft;
    context.fillText(number(mark, 2), x(mark), bottom + 7);
  }
}

function drawPoints(context: CanvasRenderingContext2D, { line, dots, colours }: Sheet, { x, y }: Scales): void {
  if (!dots) return;
  context.fillStyle = colours.paper;
  context.strokeStyle = colours.lines[0] ?? colours.ink;
  context.lineWidth = 1.4;
  for (const at of line.dots.length ? line.dots : line.alpha.keys()) {
    const loss = line.loss[at] ?? NaN;
    if (!Number.isFinite(loss)) continue;
    context.beginPath();
    context.arc(x(line.alpha[at] as number), y(loss), 2.2, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
  }
}

/** Named places: a disc on the line, the name above it where it is free. */
function drawLabels(context: CanvasRenderingContext2D, { line, frame, colours }: Sheet, { x, y }: Scales): void {
  const taken: [number, number][] = [];
  context.font = `600 ${FONT}`;
  context.textAlign = "center";
  for (const { at, label } of line.marks) {
    const loss = line.loss[nearestPoint(line.alpha, at)] ?? NaN;
    const [across, down] = [x(at), Number.isFinite(loss) ? y(loss) : frame.top + frame.height];
    sign(context, [across, down], { kind: "mark", colours });
    const text = shorten(label, 24);
    const half = context.measureText(text).width / 2;
    if (taken.some(([from, to]) => across + half > from && across - half < to)) continue;
    taken.push([across - half - 8, across + half + 8]);
    const middle = Math.min(Math.max(across, frame.left + half), frame.left + frame.width - half);
    const above = down - 20 > frame.top;
    context.textBaseline = above ? "bottom" : "top";
    context.lineWidth = 4;
    context.strokeStyle = colours.paper;
    context.strokeText(text, middle, above ? down - 9 : down + 10);
    context.fillStyle = colours.ink;
    context.fillText(text, middle, above ? down - 9 : down + 10);
  }
  context.font = FONT;
}
