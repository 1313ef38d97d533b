// A surface seen from a side: heights and a view in, a picture on a plain canvas out.
import { hatch } from "./hatch";
import { between } from "./land";
import { clear, empty, fill, type Mesh, type Pixels, seen } from "./raster";
import { FONT } from "./steps";
import type { Palette } from "./theme";

export interface View {
  /** Radians: about the vertical axis, and above the horizon. */
  turn: number;
  tilt: number;
  zoom: number;
}

export const FRONT: View = { turn: -0.72, tilt: 0.62, zoom: 1 };

/** All places are [column, row] of the heights' grid, whole or between its points. */
export interface Scene {
  heights: Float64Array;
  columns: number;
  /** The way that training went. */
  path: [number, number][];
  marks: { at: [number, number]; label: string }[];
  /** Where it was computed; empty where that is not shown. */
  dots: [number, number][];
  /** Outlines of cells without a number. */
  holes: [number, number][][];
  /** Pointed at in the contour plot. */
  pointed: [number, number] | null;
}

export interface Paper {
  width: number;
  height: number;
  colours: Palette;
  /** Heights from 0 to 1 and what is written beside them. */
  ticks: { at: number; label: string }[];
  /** Pixels of the picture a CSS pixel. */
  fineness: number;
}

const RIM = "#14181d"; // around what is drawn over the map's colours
const TALL = 0.95; // height of the box beside its half width of 1
const SIDE = 84; // pixels left and right for what is written beside the box
const LINES = 10; // of the mesh along the longer side
const NEAR = 0.02; // what lies on the surface is seen through so much of it

/** From grid places and height to CSS pixels, and how near that is. */
export type Projection = (column: number, row: number, height: number) => [x: number, y: number, depth: number];

export function turned(view: View, by: { turn?: number; tilt?: number; zoom?: number }): View {
  const tilt = Math.min(Math.max(view.tilt + (by.tilt ?? 0), 0.05), Math.PI / 2);
  const zoom = Math.min(Math.max(view.zoom * (by.zoom ?? 1), 0.5), 6);
  const turn = (view.turn + (by.turn ?? 0)) % (2 * Math.PI);
  return { turn, tilt, zoom };
}

/** Parallel lines stay parallel; beta grows away from the reader, as on the map. */
export function projection(view: View, size: { columns: number; rows: number; width: number; height: number }): Projection {
  const [sin, cos] = [Math.sin(view.turn), Math.cos(view.turn)];
  const [up, flat] = [Math.cos(view.tilt), Math.sin(view.tilt)];
  const scale = view.zoom * Math.min((size.width - SIDE) / 2.83, size.height / 2.6);
  return (column, row, height) => {
    const x = (2 * column) / (size.columns - 1) - 1;
    const y = 1 - (2 * row) / (size.rows - 1);
    const z = (height - 0.42) * TALL;
    const near = x * sin + y * cos;
    return [
      size.width / 2 + scale * (x * cos - y * sin),
      size.height / 2 + scale * (near * flat - z * up),
      near * up + z * flat,
    ];
  };
}

/** Draws surfaces of one size again and again without new memory. */
export class Painter {
  private pixels: Pixels = empty(1, 1);
  private image: ImageData | null = null;
  private readonly sheet = document.createElement("canvas");

  draw(context: CanvasRenderingContext2D, scene: Scene, view: View, paper: Paper): void {
    const rows = Math.floor(scene.heights.length / scene.columns);
    const project = projection(view, { columns: scene.columns, rows, width: paper.width, height: paper.height });
    const drawing: Drawing = { scene, project, view, rows, paper, pixels: this.fitted(paper) };
    context.clearRect(0, 0, paper.width, paper.height);
    context.lineJoin = "round";
    context.lineCap = "round";
    drawBox(context, drawing);
    fill(this.pixels, meshOf(drawing));
    if (this.image) this.sheet.getContext("2d")?.putImageData(this.image, 0, 0);
    context.imageSmoothingQuality = "high";
    context.drawImage(this.sheet, 0, 0, paper.width, paper.height);
    drawMesh(context, drawing);
    drawDots(context, drawing);
    drawPath(context, drawing);
  }

  private fitted({ width, height, fineness }: Paper): Pixels {
    const [wide, tall] = [Math.round(width * fineness), Math.round(height * fineness)];
    if (this.pixels.width === wide && this.pixels.height === tall) clear(this.pixels);
    else {
      [this.sheet.width, this.sheet.height] = [wide, tall];
      this.image = new ImageData(wide, tall);
      this.pixels = { ...empty(wide, tall), colours: new Uint32Array(this.image.data.buffer) };
    }
    return this.pixels;
  }
}

interface Drawing {
  scene: Scene;
  project: Projection;
  view: View;
  rows: number;
  paper: Paper;
  pixels: Pixels;
}

/** The surface in pixels of the picture, lit from over the reader's left shoulder. */
function meshOf({ scene: { heights, columns }, project, view, rows, paper }: Drawing): Mesh {
  const count = heights.length;
  const floats = (): Float32Array => new Float32Array(count);
  const mesh: Mesh = { columns, x: floats(), y: floats(), depth: floats(), height: floats(), light: floats() };
  const from = view.turn - 0.9;
  const [lx, ly, lz] = [Math.sin(from) * 0.62, -Math.cos(from) * 0.62, 0.79];
  const [across, down] = [((columns - 1) / 4) * TALL, ((rows - 1) / 4) * TALL];
  for (let at = 0; at < count; at++) {
    const [column, row] = [at % columns, Math.floor(at / columns)];
    const height = heights[at] as number;
    const [x, y, depth] = project(column, row, height);
    mesh.x[at] = x * paper.fineness;
    mesh.y[at] = y * paper.fineness;
    mesh.depth[at] = depth;
    mesh.height[at] = height;
    const [nx, ny] = [-slope(heights, at, [column, columns, 1]) * across, -slope(heights, at, [row, rows, columns]) * down];
    const facing = (nx * lx + ny * ly + lz) / Math.sqrt(nx * nx + ny * ny + 1);
    mesh.light[at] = facing;
  }
  return mesh;
}

/** Difference over two cells, or twice that over one at a rim. */
function slope(heights: Float64Array, at: number, [place, count, stride]: [number, number, number]): number {
  const before = place > 0 ? heights[at - stride] : heights[at];
  const after = place + 1 < count ? heights[at + stride] : heights[at];
  const difference = (after ?? NaN) - (before ?? NaN);
  if (Number.isNaN(difference)) return 0;
  return place > 0 && place + 1 < count ? difference : 2 * difference;
}

// --- lines on the surface ----------------------------------------------------------

type Spot = { x: number; y: number; seen: boolean };

function spotOf({ scene, project, pixels, paper }: Drawing, [column, row]: [number, number]): Spot | null {
  const height = between(scene.heights, scene.columns, column, row);
  if (Number.isNaN(height)) return null;
  const [x, y, depth] = project(column, row, height + 0.004);
  return { x, y, seen: seen(pixels, [x * paper.fineness, y * paper.fineness], depth + NEAR) };
}

/** Fine lines along some rows and columns help to see the shape. */
function drawMesh(context: CanvasRenderingContext2D, drawing: Drawing): void {
  const { scene: { heights, columns }, rows } = drawing;
  const gap = Math.max(Math.round((Math.max(columns, rows) - 1) / LINES), 1);
  context.beginPath();
  const line = (points: [number, number][]): void => {
    let pen = false;
    for (const point of points) {
      const spot = Number.isNaN(heights[point[1] * columns + point[0]]) ? null : spotOf(drawing, point);
      if (spot?.seen && pen) context.lineTo(spot.x, spot.y);
      else if (spot?.seen) context.moveTo(spot.x, spot.y);
      pen = spot?.seen ?? false;
    }
  };
  const every = (count: number): number[] => Array.from({ length: Math.floor((count - 1) / gap) + 1 }, (_, at) => at * gap);
  for (const row of every(rows)) line(Array.from({ length: columns }, (_, column) => [column, row]));
  for (const column of every(columns)) line(Array.from({ length: rows }, (_, row) => [column, row]));
  context.strokeStyle = "rgb(0 0 0 / 26%)";
  context.lineWidth = 0.7;
  context.stroke();
}

function drawDots(context: CanvasRenderingContext2D, drawing: Drawing): void {
  context.fillStyle = "rgb(255 255 255 / 80%)";
  context.strokeStyle = "rgb(0 0 0 / 45%)";
  context.lineWidth = 0.6;
  for (const place of drawing.scene.dots) {
    const spot = spotOf(drawing, place);
    if (!spot?.seen) continue;
    context.beginPath();
    context.arc(spot.x, spot.y, 1.3, 0, 2 * Math.PI);
    context.stroke();
    context.fill();
  }
}

/** Points of the path less than half a cell apart. */
export function fine(path: [number, number][]): [number, number][] {
  return path.flatMap((to, at) => {
    const from = path[at - 1];
    if (!from) return [to];
    const count = Math.min(Math.max(Math.ceil(2 * Math.hypot(to[0] - from[0], to[1] - from[1])), 1), 400);
    return Array.from({ length: count }, (_, part): [number, number] => {
      const share = (part + 1) / count;
      return [from[0] + (to[0] - from[0]) * share, from[1] + (to[1] - from[1]) * share];
    });
  });
}

/** The way that training went; faint and broken where a hill hides it. */
function drawPath(context: CanvasRenderingContext2D, drawing: Drawing): void {
  const { scene: { path, pointed }, paper: { colours } } = drawing;
  const spots = fine(path).map((point) => spotOf(drawing, point));
  const trace = (wanted: boolean): void => {
    context.beginPath();
    spots.forEach((spot, at) => {
      const before = spots[at - 1];
      if (!spot || !before || (spot.seen && before.seen) !== wanted) return;
      context.moveTo(before.x, before.y);
      context.lineTo(spot.x, spot.y);
    });
  };
  context.save();
  context.globalAlpha = 0.4;
  context.strokeStyle = colours.route;
  context.lineWidth = 1.2;
  trace(false);
  context.stroke();
  context.restore();
  trace(true);
  for (const [width, colour] of [[4.4, RIM], [2.4, colours.route]] as const) {
    context.lineWidth = width;
    context.strokeStyle = colour;
    context.stroke();
  }
  const mark = (point: [number, number] | null | undefined, kind: SignKind): void => {
    const spot = point ? spotOf(drawing, point) : null;
    if (spot) sign(context, [spot.x, spot.y], { kind, colours });
  };
  for (const { at } of drawing.scene.marks) mark(at, "mark");
  mark(path[0], "start");
  if (path.length > 1) mark(path.at(-1), "end");
  mark(pointed, "here");
}

export type SignKind = "start" | "end" | "here" | "mark";

/** A ring where training began, a diamond where it ended, a disc at a checkpoint, a cross where one points. */
export function sign(
  context: CanvasRenderingContext2D, [x, y]: readonly [number, number], { kind, colours }: { kind: SignKind; colours: Palette },
): void {
  context.save();
  context.translate(x, y);
  context.beginPath();
  if (kind === "start" || kind === "mark") context.arc(0, 0, kind === "start" ? 5 : 3.2, 0, 2 * Math.PI);
  else if (kind === "end") for (const [dx, dy] of [[0, -7], [7, 0], [0, 7], [-7, 0]] as const) context.lineTo(dx, dy);
  else for (const [a, b] of [[7, 0], [0, 7]] as const) { context.moveTo(-a, -b); context.lineTo(a, b); }
  if (kind !== "here") context.closePath();
  context.lineWidth = kind === "here" ? 3.6 : kind === "mark" ? 3 : 4.6;
  context.strokeStyle = RIM;
  context.stroke();
  context.lineWidth = kind === "here" ? 1.6 : 2;
  context.strokeStyle = kind === "here" ? "#ffffff" : colours.route;
  context.fillStyle = kind === "start" ? RIM : colours.route;
  if (kind !== "here") context.fill();
  if (kind !== "mark") context.stroke();
  context.restore();
}

// --- the box around it -------------------------------------------------------------

/** Floor, far walls with the heights on them, names of the directions. */
function drawBox(context: CanvasRenderingContext2D, { project, view, scene: { columns, holes }, rows, paper }: Drawing): void {
  const { colours } = paper;
  const far: [number, number] = [Math.sin(view.turn) >= 0 ? 0 : columns - 1, Math.cos(view.turn) >= 0 ? rows - 1 : 0];
  const near: [number, number] = [columns - 1 - far[0], rows - 1 - far[1]];
  const line = (points: [number, number, number][], colour: string): void => {
    context.beginPath();
    for (const point of points) {
      const [x, y] = project(...point);
      context.lineTo(x, y);
    }
    context.strokeStyle = colour;
    context.lineWidth = 1;
    context.stroke();
  };
  line([[0, 0, 0], [columns - 1, 0, 0], [columns - 1, rows - 1, 0], [0, rows - 1, 0], [0, 0, 0]], colours.edge);
  for (const { at } of paper.ticks) line([[near[0], far[1], at], [...far, at], [far[0], near[1], at]], colours.grid);
  for (const [x, y] of [[near[0], far[1]], far, [far[0], near[1]]] as const) line([[x, y, 0], [x, y, 1]], colours.edge);
  hatch(context, holes.map((outline) => outline.map(([column, row]) => {
    const [x, y] = project(column, row, 0);
    return [x, y] as const;
  })), colours);
  context.font = FONT;
  context.fillStyle = colours.soft;
  context.textBaseline = "middle";
  context.textAlign = "right";
  const sides: [number, number][] = [[near[0], far[1]], [far[0], near[1]]];
  const [left = far] = sides.sort((a, b) => project(...a, 0)[0] - project(...b, 0)[0]);
  for (const { at, label } of paper.ticks) {
    const [x, y] = project(...left, at);
    context.fillText(label, x - 7, y);
  }
  context.textAlign = "center";
  context.font = `600 ${FONT}`;
  const beyond = (place: number, count: number): number => place + (place > 0 ? 0.09 : -0.09) * count;
  const [ax, ay] = project((columns - 1) / 2, beyond(near[1], rows), 0);
  const [bx, by] = project(beyond(near[0], columns), (rows - 1) / 2, 0);
  context.fillText("α", ax, ay);
  context.fillText("β", bx, by);
}

