// Drawing the layer × step map: a grid and a frame in, pixels out.
import { INFINITE_RGB, viridis, ZERO_RGB, type Rgb } from "./colours";
import { shorten } from "./format";
import { INFINITE, ofRank, TOP, ZERO, type Grid } from "./grid";
import type { Range } from "./link";

/** Where the map lies on its canvas, in CSS pixels. */
export interface Frame {
  left: number;
  top: number;
  width: number;
  height: number;
}

const SHADES = 256;
const OPAQUE = 255 << 24;

/** Colour of each rank as a pixel lies in memory: red first; 0 is transparent. */
const COLOURS = Uint32Array.from({ length: 65_536 }, (_, rank) => {
  const colour = colourOf(ofRank(rank));
  return colour ? (OPAQUE | (colour[2] << 16) | (colour[1] << 8) | colour[0]) >>> 0 : 0;
});

function colourOf(code: number): Rgb | undefined {
  if (code <= TOP) return viridis(Math.round((code / TOP) * (SHADES - 1)) / (SHADES - 1));
  if (code === ZERO) return ZERO_RGB;
  return code === INFINITE ? INFINITE_RGB : undefined;
}

/** Columns `first[p]` up to and without `last[p]` fall on pixel p; none where equal. */
export function columnsOn(edges: number[], range: Range, pixels: number): [Int32Array, Int32Array] {
  const [first, last] = [new Int32Array(pixels), new Int32Array(pixels)];
  const columns = edges.length - 1;
  const scale = (range[1] - range[0]) / pixels;
  let begin = 0;
  let end = 0;
  for (let pixel = 0; pixel < pixels; pixel++) {
    const from = range[0] + pixel * scale;
    while (begin < columns && (edges[begin + 1] ?? Infinity) <= from) begin++;
    end = Math.max(end, begin);
    while (end < columns && (edges[end] ?? Infinity) < from + scale) end++;
    first[pixel] = begin;
    last[pixel] = end;
  }
  return [first, last];
}

/**
 * The ranks of the pixels, row by row: of all cells on a pixel the highest, so that
 * one step among thousands is still seen. Places without a cell are 0.
 */
export function pixelRanks(grid: Grid, range: Range, width: number, height: number): Uint16Array {
  const [first, last] = columnsOn(grid.edges, range, width);
  const out = new Uint16Array(width * height);
  const { ranks } = grid;
  for (let row = 0; row < grid.rows; row++) {
    const base = row * grid.columns;
    const place = Math.floor((row * height) / grid.rows) * width;
    for (let pixel = 0; pixel < width; pixel++) {
      const end = base + (last[pixel] as number);
      let highest = out[place + pixel] as number;
      for (let at = base + (first[pixel] as number); at < end; at++) {
        highest = Math.max(highest, ranks[at] as number);
      }
      out[place + pixel] = highest;
    }
  }
  return out;
}

export function xOf(step: number, range: Range, frame: Frame): number {
  return frame.left + ((step - range[0]) / (range[1] - range[0])) * frame.width;
}

export function stepAt(x: number, range: Range, frame: Frame): number {
  const share = Math.min(Math.max((x - frame.left) / frame.width, 0), 1);
  return range[0] + share * (range[1] - range[0]);
}

export function rowAt(y: number, rows: number, frame: Frame): number {
  const row = Math.floor(((y - frame.top) / frame.height) * rows);
  return Math.min(Math.max(row, 0), rows - 1);
}

/** The map itself: one picture, a pixel wide for each pixel of the screen. */
export function drawMap(context: CanvasRenderingContext2D, grid: Grid, view: { frame: Frame; range: Range }): void {
  const { frame, range } = view;
  const ratio = Math.max(devicePixelRatio, 1);
  const width = Math.max(Math.round(frame.width * ratio), 1);
  const height = Math.max(Math.min(grid.rows, Math.round(frame.height * ratio)), 1);
  const picture = document.createElement("canvas");
  picture.width = width;
  picture.height = height;
  const inside = picture.getContext("2d");
  if (!inside || !grid.columns) return;
  const image = inside.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const ranks = pixelRanks(grid, range, width, height);
  for (let at = 0; at < ranks.length; at++) pixels[at] = COLOURS[ranks[at] as number] as number;
  inside.putImageData(image, 0, 0);
  context.save();
  context.imageSmoothingEnabled = false;
  context.drawImage(picture, frame.left, frame.top, frame.width, frame.height);
  context.restore();
}

/** Diagonal strokes where nothing was recorded, so that it is not mistaken for a value. */
export function drawEmpty(context: CanvasRenderingContext2D, frame: Frame, colour: string): void {
  context.save();
  context.beginPath();
  context.rect(frame.left, frame.top, frame.width, frame.height);
  context.clip();
  context.strokeStyle = colour;
  context.lineWidth = 1;
  context.beginPath();
  for (let x = frame.left - frame.height; x < frame.left + frame.width; x += 7) {
    context.moveTo(x, frame.top + frame.height);
    context.lineTo(x + frame.height, frame.top);
  }
  context.stroke();
  context.restore();
}

export interface Labels {
  names: string[];
  accused: Set<number>;
  selected: number;
  ink: string;
  soft: string;
  alarm: string;
  brief: boolean;
}

/** Layer names left of the map: the accused and the selected always, others as fit. */
export function drawLabels(
  context: CanvasRenderingContext2D,
  labels: Labels,
  frame: Frame,
): void {
  const size = labels.brief ? 10 : 11.5;
  const height = frame.height / labels.names.length;
  const most = Math.floor((frame.left - 14) / (size * 0.58));
  context.textAlign = "right";
  context.textBaseline = "middle";
  const common = sharedPrefix(labels.names);
  for (const row of labelled(labels, height, size + 3)) {
    const marked = labels.accused.has(row);
    const chosen = row === labels.selected;
    context.font = `${marked || chosen ? "600 " : ""}${size}px ${MONO}`;
    context.fillStyle = marked ? labels.alarm : chosen ? labels.ink : labels.soft;
    const name = labels.names[row] ?? "";
    const text = labels.brief ? brief(name.slice(common), most) : shorten(name, Math.max(most, 3));
    const middle = frame.top + (row + 0.5) * height;
    const lowest = frame.top + frame.height - size / 2;
    context.fillText(text, frame.left - 8, Math.min(Math.max(middle, size / 2), lowest));
  }
}

const MONO = 'ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace';

/** Rows that get a label without two of them touching, the important ones first. */
export function labelled(labels: Pick<Labels, "names" | "accused" | "selected">, height: number, room: number): number[] {
  const order = [
    ...labels.accused,
    labels.selected,
    ...spread(labels.names.length, Math.ceil(room / height)),
  ];
  const taken: number[] = [];
  // Labels of the outermost rows stand a little inside, so that they are not cut off.
  const place = (row: number): number =>
    Math.min(Math.max((row + 0.5) * height, room / 2 - 1), labels.names.length * height - room / 2 + 1);
  for (const row of order) {
    if (row < 0 || row >= labels.names.length) continue;
    if (taken.every((other) => Math.abs(place(other) - place(row)) >= room - 1)) taken.push(row);
  }
  return taken;
}

function spread(rows: number, every: number): number[] {
  return Array.from({ length: Math.ceil(rows / every) }, (_, index) => index * every);
}

/** What all names begin with, up to a dot: "net." says nothing on a phone. */
export function sharedPrefix(names: string[]): number {
  let prefix = names[0] ?? "";
  for (const name of names) {
    while (!name.startsWith(prefix)) prefix = prefix.slice(0, -1);
  }
  return prefix.lastIndexOf(".") + 1;
}

/** A name in a few signs: its first number and its end, which tell layers apart. */
export function brief(name: string, most: number): string {
  const short = name.replace(/\.weight$/, "").replace(/\.bias$/, ".b");
  const points = Array.from(short);
  if (points.length <= most) return short;
  const block = /\d+(?=\.)/.exec(short)?.[0] ?? "";
  const tail = points.slice(-Math.max(most - block.length - 1, 1)).join("");
  return `${block}…${tail.replace(/^\./, "")}`;
}

/** A bracket around the accused row and a broken line at the onset. */
export function drawAccused(
  context: CanvasRenderingContext2D,
  frame: Frame,
  marks: { rows: number[]; count: number; onset: number | null; colour: string; halo: string },
): void {
  const height = frame.height / marks.count;
  for (const row of marks.rows) {
    // Drawn around the row, not on it: its cells are what one came to see.
    const top = frame.top + row * height - 1;
    const stroke = height < 10 ? 1 : 1.5;
    for (const [width, colour] of [[2 * stroke, marks.halo], [stroke, marks.colour]] as const) {
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.strokeRect(frame.left + 0.75, Math.max(top, 0.75), frame.width - 1.5, height + 2);
    }
  }
  if (marks.onset === null) return;
  drawOnset(context, marks.onset - 1, [frame.top, frame.top + frame.height], marks);
}

export function drawOnset(
  context: CanvasRenderingContext2D,
  x: number,
  [top, bottom]: [number, number],
  colours: { colour: string; halo: string },
): void {
  const line = (width: number, colour: string, dash: number[]): void => {
    context.beginPath();
    context.setLineDash(dash);
    context.lineWidth = width;
    context.strokeStyle = colour;
    context.moveTo(x, top);
    context.lineTo(x, bottom);
    context.stroke();
  };
  context.save();
  line(2.5, colours.halo, []);
  line(1.25, colours.colour, [5, 3]);
  context.restore();
}
