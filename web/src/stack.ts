// Drawing shares that are stacked to 1: bands and a frame in, pixels out.
import { css, type Rgb, viridis } from "./colours";
import { shorten } from "./format";
import type { Frame } from "./heat";
import { xOf } from "./heat";
import type { Range } from "./link";
import { type Band, stacked } from "./shares";
import { FONT } from "./steps";
import type { Palette } from "./theme";

export interface Stack {
  bands: Band[];
  edges: number[];
  range: Range;
  frame: Frame;
  colours: Palette;
  /** The band pointed at; the others step back. */
  chosen: number | null;
}

const LABEL = 15; // pixels of height that a name needs

/** Depth runs from dark to light; what is left over is grey. */
export function shadeOf(band: Band, at: number, count: number): Rgb | null {
  return band.row === null ? null : viridis(0.1 + (0.85 * at) / Math.max(count - 1, 1));
}

export function drawStack(context: CanvasRenderingContext2D, stack: Stack): void {
  const { bands, frame, colours } = stack;
  drawScale(context, frame, colours);
  context.save();
  context.beginPath();
  context.rect(frame.left, frame.top, frame.width, frame.height);
  context.clip();
  const columns = columnsOf(stack);
  bands.forEach((band, at) => {
    const shade = shadeOf(band, at, bands.length);
    context.globalAlpha = stack.chosen === null || stack.chosen === at ? 1 : 0.45;
    context.fillStyle = shade ? css(shade) : colours.faint;
    context.strokeStyle = colours.paper;
    context.lineWidth = 0.75;
    for (const run of runsOf(columns)) outline(context, run, at, frame);
  });
  context.globalAlpha = 1;
  bands.forEach((_, at) => drawName(context, columns, { stack, at }));
  context.restore();
}

/** Columns that touch, as one shape: one path a band is far cheaper than one a cell. */
function runsOf(columns: Column[]): Column[][] {
  const runs: Column[][] = [];
  for (const column of columns) {
    const run = runs.at(-1);
    if (run && column.x <= (run.at(-1)?.end ?? 0) + 1) run.push(column);
    else runs.push([column]);
  }
  return runs;
}

function outline(context: CanvasRenderingContext2D, run: Column[], at: number, frame: Frame): void {
  const edge = (columns: Column[], side: 0 | 1): void => {
    for (const { x, end, parts } of columns) {
      const y = yOf(parts[at]?.[side] ?? 0, frame);
      context.lineTo(side ? x : end, y);
      context.lineTo(side ? end : x, y);
    }
  };
  context.beginPath();
  edge(run, 1);
  edge([...run].reverse(), 0);
  context.fill();
  context.beginPath();
  edge(run, 1);
  context.stroke();
}

function yOf(share: number, frame: Frame): number {
  return frame.top + (1 - share) * frame.height;
}

interface Column {
  /** Where each band begins and ends, 0 to 1. */
  parts: [number, number][];
  x: number;
  end: number;
}

/** Columns in view with readings, and the pixels that each covers. */
function columnsOf({ bands, edges, range, frame }: Stack): Column[] {
  return (bands[0]?.shares ?? []).flatMap((share, column) => {
    const from = edges[column] ?? 0;
    const to = edges[column + 1] ?? from;
    if (share === null || to <= range[0] || from >= range[1]) return [];
    const x = Math.floor(xOf(from, range, frame));
    return [{ parts: stacked(bands, column), x, end: Math.max(Math.ceil(xOf(to, range, frame)), x + 1) }];
  });
}

const TRIED = 12; // places for a name, the tallest first

/** The name where its band has room for it, if it has any. */
function drawName(context: CanvasRenderingContext2D, columns: Column[], own: { stack: Stack; at: number }): void {
  const { frame, bands, colours } = own.stack;
  const band = bands[own.at];
  if (!band) return;
  context.font = FONT;
  const text = shorten(band.name, 26);
  const half = context.measureText(text).width / 2 + 5;
  const spot = roomFor(columns, own.at, { half, frame });
  if (!spot) return;
  const shade = shadeOf(band, own.at, bands.length);
  context.textBaseline = "middle";
  context.textAlign = "center";
  context.fillStyle = shade ? (shade[1] > 130 ? "#10201a" : "#ffffff") : colours.paper;
  context.fillText(text, spot[0], spot[1] + 0.5);
}

/** A place where a band is tall enough over the whole width of its name. */
function roomFor(columns: Column[], at: number, { half, frame }: { half: number; frame: Frame }): [number, number] | null {
  const tall = ({ parts }: Column): number => (parts[at]?.[1] ?? 0) - (parts[at]?.[0] ?? 0);
  const tried = columns.filter((column) => tall(column) * frame.height >= LABEL)
    .sort((a, b) => tall(b) - tall(a))
    .slice(0, TRIED);
  for (const column of tried) {
    const middle = (column.x + column.end) / 2;
    const x = Math.min(Math.max(middle, frame.left + half), frame.left + frame.width - half);
    const beneath = columns.filter((one) => one.end > x - half && one.x < x + half);
    const from = Math.max(...beneath.map((one) => one.parts[at]?.[0] ?? 0));
    const to = Math.min(...beneath.map((one) => one.parts[at]?.[1] ?? 0));
    const covered = (beneath.at(-1)?.end ?? 0) >= x + half - 2;
    if (covered && (to - from) * frame.height >= LABEL) return [x, yOf((from + to) / 2, frame)];
  }
  return null;
}

function drawScale(context: CanvasRenderingContext2D, frame: Frame, colours: Palette): void {
  context.font = FONT;
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const share of [0, 0.5, 1]) {
    const y = yOf(share, frame);
    context.fillStyle = colours.grid;
    context.fillRect(frame.left, Math.round(y) - 0.5, frame.width, 1);
    context.fillStyle = colours.soft;
    context.fillText(`${100 * share} %`, frame.left - 6, Math.min(Math.max(y, 6), frame.top + frame.height - 5));
  }
}
