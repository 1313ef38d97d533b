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
  const spots = bands.map((): Spot => ({ tall: 0, x: 0, y: 0 }));
  columnsOf(stack).forEach(({ column, x, end }) => {
    stacked(bands, column).forEach(([from, to], at) => {
      const band = bands[at];
      if (!band || to <= from) return;
      const shade = shadeOf(band, at, bands.length);
      const [top, bottom] = [yOf(to, frame), yOf(from, frame)];
      context.globalAlpha = stack.chosen === null || stack.chosen === at ? 1 : 0.45;
      context.fillStyle = shade ? css(shade) : colours.faint;
      context.fillRect(x, top, end - x, bottom - top);
      context.fillStyle = colours.paper;
      context.fillRect(x, bottom - 0.5, end - x, 0.75);
      const spot = spots[at];
      if (spot && bottom - top > spot.tall && end - x > 0) {
        spots[at] = { tall: bottom - top, x: (x + end) / 2, y: (top + bottom) / 2 };
      }
    });
  });
  context.globalAlpha = 1;
  spots.forEach((spot, at) => drawName(context, spot, { stack, at }));
  context.restore();
}

function yOf(share: number, frame: Frame): number {
  return frame.top + (1 - share) * frame.height;
}

/** Columns in view with readings, and the pixels that each covers. */
function columnsOf({ bands, edges, range, frame }: Stack): { column: number; x: number; end: number }[] {
  return (bands[0]?.shares ?? []).flatMap((share, column) => {
    const from = edges[column] ?? 0;
    const to = edges[column + 1] ?? from;
    if (share === null || to <= range[0] || from >= range[1]) return [];
    const x = Math.floor(xOf(from, range, frame));
    return [{ column, x, end: Math.max(Math.ceil(xOf(to, range, frame)), x + 1) }];
  });
}

interface Spot {
  tall: number;
  x: number;
  y: number;
}

/** The name where its band is tallest, if it has room there. */
function drawName(context: CanvasRenderingContext2D, spot: Spot, own: { stack: Stack; at: number }): void {
  const { frame, bands, colours } = own.stack;
  const band = bands[own.at];
  if (!band || spot.tall < LABEL) return;
  const shade = shadeOf(band, own.at, bands.length);
  const light = shade ? shade[1] > 130 : false;
  context.font = FONT;
  context.textBaseline = "middle";
  context.textAlign = "center";
  const text = shorten(band.name, 26);
  const half = context.measureText(text).width / 2 + 6;
  if (2 * half > frame.width) return;
  const x = Math.min(Math.max(spot.x, frame.left + half), frame.left + frame.width - half);
  context.fillStyle = shade ? (light ? "#10201a" : "#ffffff") : colours.paper;
  context.fillText(text, x, spot.y + 0.5);
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
