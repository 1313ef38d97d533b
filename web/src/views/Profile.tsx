// The quantity over the depth of the net at one step: a grid in, a side view out.
import { useEffect, useRef, useState } from "preact/hooks";
import { canvasOf } from "../canvas";
import { number, step } from "../format";
import { codeAt, columnAt, drawn, type Grid, INFINITE, ZERO } from "../grid";
import type { Frame } from "../heat";
import { palette } from "../theme";
import type { Shared } from "./Tracks";
import { useTurn } from "./useTurn";
import { useWidth } from "./useWidth";

interface Props {
  grid: Grid;
  frame: Frame;
  accused: number[];
  row: number;
  shared: Shared;
}

const INSET = 10;
const CROWD = 80; // more dots than this are so small that nobody sees them to be round

export function Profile({ grid, frame, accused, row, shared }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const width = useWidth(box);
  const [at, point] = useState<number | null>(null);
  useEffect(() => shared.pointer.follow((place) => point(place.step)), [shared.pointer]);
  const column = at === null ? grid.columns - 1 : columnAt(grid, at);
  useTurn(shared.turns, () => {
    const context = canvasOf(canvas.current, width, frame.height);
    if (context && width > 3 * INSET) draw(context, { grid, column, width, height: frame.height, accused, row });
  }, [grid, column, width, frame.height, accused, row, shared.theme]);
  const end = (which: 0 | 1): string => number(grid.log ? 10 ** grid.range[which] : grid.range[which], 2);
  return (
    <div class="profile" aria-hidden="true">
      <div ref={box}><canvas ref={canvas} /></div>
      <p class="ends"><span>{end(0)}</span><span>{end(1)}</span></p>
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
  context.fillStyle = colours.grid;
  grid.range.forEach((end) => context.fillRect(Math.round(xOf(end)), 0, 1, height));
  const points = Array.from({ length: grid.rows }, (_, at) => {
    const value = shown(grid, codeAt(grid, at, column));
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
    if (grid.rows > CROWD && !marked && !chosen) {
      context.fillRect(point.x - 1, point.y - 1, 2, 2);
      continue;
    }
    context.beginPath();
    context.arc(point.x, point.y, marked || chosen ? size + 1.5 : size, 0, 2 * Math.PI);
    context.fill();
  }
}

/** Zero and overflow lie just outside the scale, as they do on the map. */
function shown(grid: Grid, code: number): number | null {
  const [low, high] = grid.range;
  const beyond = (high - low || 1) * 0.06;
  if (code === ZERO) return low - beyond;
  return code === INFINITE ? high + beyond : drawn(grid, code);
}
