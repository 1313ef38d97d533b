// The surface from above: a land and a frame in, colours, lines of equal loss and the
// path out.
import { viridis } from "./colours";
import { contour, joined, type Point } from "./contour";
import { number, shorten } from "./format";
import type { Frame } from "./heat";
import { hatch } from "./hatch";
import { heightOf, holesOf, type Land, levels, placeOn, type Relief } from "./land";
import { FONT } from "./steps";
import { sign } from "./surface";
import type { Palette } from "./theme";

export interface Plan {
  land: Land;
  relief: Relief;
  log: boolean;
  /** Whether what was computed is marked. */
  dots: boolean;
  frame: Frame;
  colours: Palette;
}

/** One pixel a point, beta growing upwards, to be stretched over the frame. */
export function shades({ heights, columns }: Relief): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.width = columns;
  canvas.height = heights.length / columns;
  const context = canvas.getContext("2d");
  if (!context) return canvas;
  const image = context.createImageData(canvas.width, canvas.height);
  heights.forEach((height, at) => {
    if (!Number.isFinite(height)) return;
    const [row, column] = [Math.floor(at / canvas.width), at % canvas.width];
    image.data.set([...viridis(height), 255], 4 * ((canvas.height - 1 - row) * canvas.width + column));
  });
  context.putImageData(image, 0, 0);
  return canvas;
}

export function drawContours(context: CanvasRenderingContext2D, plan: Plan, source: HTMLCanvasElement): void {
  const { frame } = plan;
  context.save();
  context.beginPath();
  context.rect(frame.left, frame.top, frame.width, frame.height);
  context.clip();
  const at = toPixels(plan);
  hatch(context, holesOf(plan.land).map(([x, y]) => ([[x, y], [x + 1, y], [x + 1, y + 1], [x, y + 1]] as Point[]).map(at)), plan.colours);
  // Points lie on the frame's edges: half a pixel of the source hangs over on each side.
  const [across, down] = [frame.width / (source.width - 1), frame.height / (source.height - 1)];
  context.imageSmoothingQuality = "high";
  context.drawImage(
    source, frame.left - across / 2, frame.top - down / 2, frame.width + across, frame.height + down,
  );
  drawLevels(context, plan);
  if (plan.dots) drawDots(context, plan);
  drawPath(context, plan);
  drawMarks(context, plan);
  context.restore();
  drawAxes(context, plan);
}

function toPixels({ land, frame }: { land: Pick<Land, "alpha" | "beta">; frame: Frame }): (point: Point) => Point {
  const [across, down] = [frame.width / (land.alpha.length - 1), frame.height / (land.beta.length - 1)];
  return ([column, row]) => [frame.left + column * across, frame.top + frame.height - row * down];
}

/** Where the loss was computed: small enough to look past. */
function drawDots(context: CanvasRenderingContext2D, plan: Plan): void {
  const at = toPixels(plan);
  context.fillStyle = "rgb(255 255 255 / 85%)";
  context.strokeStyle = "rgb(0 0 0 / 45%)";
  context.lineWidth = 0.7;
  for (const place of plan.land.dots) {
    const [x, y] = at(place);
    context.beginPath();
    context.arc(x, y, 1.5, 0, 2 * Math.PI);
    context.stroke();
    context.fill();
  }
}

function drawLevels(context: CanvasRenderingContext2D, plan: Plan): void {
  const { land, relief, log } = plan;
  const onLand = toPixels(plan);
  const at = ([column, row]: Point): Point => onLand([column / relief.times, row / relief.times]);
  const scale = heightOf(land, log);
  const taken: Point[] = [];
  context.font = FONT;
  context.textAlign = "center";
  context.textBaseline = "middle";
  for (const level of levels(land, log)) {
    const lines = joined(contour(relief.heights, relief.columns, scale(level))).map((line) => line.map(at));
    context.strokeStyle = scale(level) > 0.62 ? "rgb(0 0 0 / 55%)" : "rgb(255 255 255 / 62%)";
    context.lineWidth = 0.9;
    for (const line of lines) {
      context.beginPath();
      for (const [x, y] of line) context.lineTo(x, y);
      context.stroke();
    }
    const longest = lines.sort((a, b) => b.length - a.length)[0];
    if (longest) drawLabel(context, longest, { text: number(level, 2), light: scale(level) <= 0.62, taken, frame: plan.frame });
  }
}

interface Label {
  text: string;
  light: boolean;
  taken: Point[];
  frame: Frame;
}

const APART = 34; // pixels between the middles of two labels

/** A number along its line, at the flattest place that is free. */
function drawLabel(context: CanvasRenderingContext2D, line: Point[], label: Label): void {
  const { frame, taken } = label;
  const half = context.measureText(label.text).width / 2 + 4;
  let best: { x: number; y: number; slope: number; cost: number } | null = null;
  for (let at = 3; at + 3 < line.length; at++) {
    const [x, y] = line[at] as Point;
    const [x0, y0] = line[at - 3] as Point;
    const [x1, y1] = line[at + 3] as Point;
    const inside = x > frame.left + half && x < frame.left + frame.width - half
      && y > frame.top + 8 && y < frame.top + frame.height - 8;
    if (!inside || taken.some(([a, b]) => Math.hypot(a - x, b - y) < APART)) continue;
    const slope = Math.atan2((y1 - y0) * Math.sign(x1 - x0 || 1), Math.abs(x1 - x0));
    const cost = Math.abs(slope) + 0.6 * Math.abs((x - frame.left) / frame.width - 0.35);
    if (!best || cost < best.cost) best = { x, y, slope, cost };
  }
  if (!best) return;
  taken.push([best.x, best.y]);
  context.save();
  context.translate(best.x, best.y);
  context.rotate(best.slope);
  context.lineWidth = 3.5;
  context.lineJoin = "round";
  context.strokeStyle = label.light ? "rgb(20 10 40 / 55%)" : "rgb(255 255 235 / 60%)";
  context.strokeText(label.text, 0, 0.5);
  context.fillStyle = label.light ? "#ffffff" : "#10151a";
  context.fillText(label.text, 0, 0.5);
  context.restore();
}

/** Fractional grid places of the path. */
export function pathOn(land: Land): [number, number][] {
  return land.path.map(([a, b]) => [placeOn(land.alpha, a), placeOn(land.beta, b)]);
}

function drawPath(context: CanvasRenderingContext2D, plan: Plan): void {
  const at = toPixels(plan);
  const path = pathOn(plan.land).map(at);
  const [first, last] = [path[0], path.at(-1)];
  if (!first || !last) return;
  context.lineJoin = "round";
  context.lineCap = "round";
  for (const [width, colour] of [[4.2, "#14181d"], [2.2, plan.colours.route]] as const) {
    context.beginPath();
    for (const [x, y] of path) context.lineTo(x, y);
    context.lineWidth = width;
    context.strokeStyle = colour;
    context.stroke();
  }
  const own = { colours: plan.colours };
  sign(context, first, { kind: "start", ...own });
  sign(context, last, { kind: "end", ...own });
  drawWord(context, first, endWord(plan, "start", first), plan.frame);
  drawWord(context, last, endWord(plan, "end", last), plan.frame);
}

/** Where a checkpoint lies at an end of the path, its name is told there. */
function endWord({ land: { alpha, beta, marks }, ...plan }: Plan, word: string, [x, y]: Point): string {
  const at = toPixels({ land: { alpha, beta }, frame: plan.frame });
  const here = marks.find((mark) => {
    const [a, b] = at([placeOn(alpha, mark.at[0]), placeOn(beta, mark.at[1])]);
    return Math.hypot(a - x, b - y) < 2;
  });
  return here?.label ? `${word}: ${shorten(here.label, 24)}` : word;
}

const CLEAR = 26; // pixels between what is written of two marks

/** Checkpoints and the like; what would be written over another word is left out. */
function drawMarks(context: CanvasRenderingContext2D, plan: Plan): void {
  const { land: { alpha, beta, marks }, frame, colours } = plan;
  const at = toPixels(plan);
  const ends = [pathOn(plan.land)[0], pathOn(plan.land).at(-1)].flatMap((one) => (one ? [at(one)] : []));
  const taken: Point[] = [...ends];
  const placed = marks
    .map(({ at: [a, b], label }) => ({ label, place: at([placeOn(alpha, a), placeOn(beta, b)]) }))
    // The path's own ends have signs and words already.
    .filter(({ place }) => !ends.some(([x, y]) => Math.hypot(x - place[0], y - place[1]) < 2));
  for (const { place } of placed) sign(context, place, { kind: "mark", colours });
  for (const { place, label } of placed) {
    if (taken.some(([x, y]) => Math.abs(x - place[0]) < 3 * CLEAR && Math.abs(y - place[1]) < CLEAR / 2)) continue;
    taken.push(place);
    drawWord(context, place, shorten(label, 24), frame);
  }
}

function drawWord(context: CanvasRenderingContext2D, [x, y]: Point, word: string, frame: Frame): void {
  context.font = `600 ${FONT}`;
  context.textBaseline = "middle";
  const right = x + context.measureText(word).width + 16 < frame.left + frame.width;
  context.textAlign = right ? "left" : "right";
  context.lineWidth = 3.5;
  context.strokeStyle = "rgb(15 18 22 / 80%)";
  context.strokeText(word, right ? x + 11 : x - 11, y);
  context.fillStyle = "#ffffff";
  context.fillText(word, right ? x + 11 : x - 11, y);
}

function drawAxes(context: CanvasRenderingContext2D, { land, frame, colours }: Plan): void {
  context.font = FONT;
  context.fillStyle = colours.soft;
  context.strokeStyle = colours.edge;
  context.lineWidth = 1;
  context.strokeRect(frame.left, frame.top, frame.width, frame.height);
  const marks = (ticks: number[], count: number): number[] => {
    const [low, high] = [Math.min(...ticks), Math.max(...ticks)];
    const rough = (high - low) / count;
    const ten = 10 ** Math.floor(Math.log10(rough));
    const gap = [1, 2, 5, 10].map((one) => one * ten).find((one) => one >= rough) ?? 10 * ten;
    const first = Math.ceil(low / gap);
    return Array.from({ length: Math.floor(high / gap) - first + 1 }, (_, at) => Number(((first + at) * gap).toPrecision(12)));
  };
  context.textBaseline = "top";
  context.textAlign = "center";
  for (const mark of marks(land.alpha, Math.max(Math.floor(frame.width / 80), 2))) {
    const x = frame.left + (placeOn(land.alpha, mark) / (land.alpha.length - 1)) * frame.width;
    context.fillRect(x - 0.5, frame.top + frame.height, 1, 4);
    context.fillText(number(mark, 2), x, frame.top + frame.height + 7);
  }
  context.textBaseline = "middle";
  context.textAlign = "right";
  for (const mark of marks(land.beta, Math.max(Math.floor(frame.height / 60), 2))) {
    const y = frame.top + (1 - placeOn(land.beta, mark) / (land.beta.length - 1)) * frame.height;
    context.fillRect(frame.left - 4, y - 0.5, 4, 1);
    context.fillText(number(mark, 2), frame.left - 7, y);
  }
}
