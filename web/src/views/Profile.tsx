// The quantity over the depth of the net at one step: a grid in, a side view out.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { canvasOf } from "../canvas";
import { number, step } from "../format";
import { codeAt, columnAt, drawn, type Grid } from "../grid";
import type { Frame } from "../heat";
import { palette } from "../theme";
import type { Shared } from "./Tracks";
import { useWidth } from "./useWidth";

interface Props {
  grid: Grid;
  frame: Frame;
  accused: number[];
  row: number;
  shared: Shared;
}

const INSET = 10;

export function Profile({ grid, frame, accused, row, shared }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const width = useWidth(box);
  const [at, point] = useState<number | null>(null);
  useEffect(() => shared.pointer.follow((place) => point(place.step)), [shared.pointer]);
  const column = at === null ? grid.columns - 1 : columnAt(grid, at);
  useLayoutEffect(() => {
    const context = canvasOf(canvas.current, width, frame.height);
    if (context && width > 3 * INSET) draw(context, { grid, column, width, height: frame.height, accused, row });
  }, [grid, column, width, frame.height, accused, row, shared.theme]);
  return (
    <div class="profile" ref={box} aria-hidden="true">
      <canvas ref={canvas} />
      <p>over depth, step {step(grid.steps[column] ?? 0)}</p>
    </div>
  );
}

interface Drawing {
  grid: Grid;
  column: number;
  width: number;
  height: number;
  accused: number[];
  row: number;
}

function draw(context: CanvasRenderingContext2D, drawing: Drawing): void {
  const { grid, column, width, height, accused, row } = drawing;
  const colours = palette();
  const [low, high] = grid.range;
  const xOf = (value: number): number => INSET + ((value - low) / (high - low || 1)) * (width - 2 * INSET);
  const yOf = (at: number): number => ((at + 0.5) * height) / grid.rows;
  scale(context, { grid, xOf, height, grids: colours.grid, soft: colours.faint });
  const points = Array.from({ length: grid.rows }, (_, at) => {
    const value = drawn(grid, codeAt(grid, at, column));
    return value === null ? null : { x: xOf(value), y: yOf(at), at };
  });
  context.strokeStyle = colours.faint;
  context.lineWidth = 1;
  context.beginPath();
  let pen = false;
  for (const point of points) {
    if (!point) { pen = false; continue; }
    if (pen) context.lineTo(point.x, point.y);
    else context.moveTo(point.x, point.y);
    pen = true;
  }
  context.stroke();
  const size = Math.min(Math.max(height / grid.rows / 5, 1.2), 3);
  for (const point of points) {
    if (!point) continue;
    const marked = accused.includes(point.at);
    const chosen = point.at === row;
    context.fillStyle = marked ? colours.alarm : chosen ? colours.ink : colours.lines[0] ?? colours.ink;
    context.beginPath();
    context.arc(point.x, point.y, marked || chosen ? size + 1.5 : size, 0, 2 * Math.PI);
    context.fill();
  }
}

interface Scale {
  grid: Grid;
  xOf: (value: number) => number;
  height: number;
  grids: string;
  soft: string;
}

function scale(context: CanvasRenderingContext2D, { grid, xOf, height, grids, soft }: Scale): void {
  context.font = '10px "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';
  context.textBaseline = "bottom";
  grid.range.forEach((end, which) => {
    const x = xOf(end);
    context.strokeStyle = grids;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(x, 0);
    context.lineTo(x, height);
    context.stroke();
    context.fillStyle = soft;
    context.textAlign = which ? "right" : "left";
    context.fillText(number(grid.log ? 10 ** end : end, 2), x + (which ? -3 : 3), height - 1);
  });
}
