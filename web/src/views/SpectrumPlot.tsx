// A density over eigenvalues on a logarithmic scale: a spectrum in, a picture out.
import { useLayoutEffect, useRef } from "preact/hooks";
import { canvasOf } from "../canvas";
import { number, superscript } from "../format";
import type { Frame } from "../heat";
import { decadesOf, type Spectrum } from "../spectrum";
import { FONT } from "../steps";
import { faded, type Palette, palette, type Theme } from "../theme";
import { roundNumbers } from "./Trials";
import { useWidth } from "./useWidth";

interface Props {
  spectrum: Spectrum;
  edge: number | null;
  theme: Theme;
  label: string;
}

const HEIGHT = 250;

export function SpectrumPlot({ spectrum, edge, theme, label }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const width = useWidth(box);
  useLayoutEffect(() => {
    const context = canvasOf(canvas.current, width, HEIGHT);
    if (context && width > 120) draw(context, { spectrum, edge, width, colours: palette() });
  }, [spectrum, edge, width, theme]);
  return <div class="spectrum" ref={box}><canvas ref={canvas} role="img" aria-label={`Density of eigenvalues. ${label}`} /></div>;
}

interface Drawing {
  spectrum: Spectrum;
  edge: number | null;
  width: number;
  colours: Palette;
}

function draw(context: CanvasRenderingContext2D, { spectrum, edge, width, colours }: Drawing): void {
  const frame: Frame = { left: 46, top: 22, width: width - 60, height: HEIGHT - 62 };
  const bottom = frame.top + frame.height;
  const [low, high] = [spectrum.at[0] ?? 0, Math.max(spectrum.at.at(-1) ?? 1, ...spectrum.top)];
  const xOf = (value: number): number => frame.left + ((value - low) / (high - low || 1)) * frame.width;
  const [from, to] = decadesOf(spectrum.density);
  const yOf = (density: number): number =>
    bottom - (Math.max((density > 0 ? Math.log10(density) : from) - from, 0) / (to - from)) * frame.height;
  context.font = FONT;
  drawGrid(context, { frame, colours, xOf, from, to, span: [low, high] });
  context.beginPath();
  context.moveTo(xOf(low), bottom);
  spectrum.at.forEach((value, index) => context.lineTo(xOf(value), yOf(spectrum.density[index] ?? 0)));
  context.lineTo(xOf(spectrum.at.at(-1) ?? 0), bottom);
  context.fillStyle = faded(colours.lines[0] ?? colours.ink, 0.22);
  context.fill();
  context.strokeStyle = colours.lines[0] ?? colours.ink;
  context.lineWidth = 1.5;
  context.lineJoin = "round";
  context.stroke();
  if (edge !== null && edge > low && edge < high) drawEdge(context, { x: xOf(edge), edge, frame, colours });
  drawTop(context, { tops: spectrum.top, errors: spectrum.errors, xOf, bottom, colours, right: frame.left + frame.width });
}

interface GridLines {
  frame: Frame;
  colours: Palette;
  xOf: (value: number) => number;
  from: number;
  to: number;
  span: [number, number];
}

function drawGrid(context: CanvasRenderingContext2D, { frame, colours, xOf, from, to, span }: GridLines): void {
  const bottom = frame.top + frame.height;
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (let power = from; power <= to; power++) {
    const y = Math.round(bottom - ((power - from) / (to - from)) * frame.height);
    context.fillStyle = colours.grid;
    context.fillRect(frame.left, y, frame.width, 1);
    context.fillStyle = colours.soft;
    context.fillText(`10${superscript(power)}`, frame.left - 6, y);
  }
  context.textAlign = "center";
  context.textBaseline = "top";
  for (const mark of roundNumbers(span[0], span[1], Math.max(Math.floor(frame.width / 90), 2))) {
    context.fillStyle = mark === 0 ? colours.edge : colours.grid;
    context.fillRect(Math.round(xOf(mark)), frame.top, mark === 0 ? 1.5 : 1, frame.height);
    context.fillStyle = colours.soft;
    context.fillText(number(mark, 2), xOf(mark), bottom + 14);
  }
  context.textAlign = "left";
  context.fillText("density", 2, 2);
  context.textAlign = "right";
  context.textBaseline = "bottom";
  context.fillText("eigenvalue", frame.left + frame.width, HEIGHT - 2);
}

interface Tops {
  tops: number[];
  errors: (number | null)[];
  xOf: (value: number) => number;
  bottom: number;
  colours: Palette;
  right: number;
}

/** A pennant under the axis for each of the largest with its error, the largest with its number. */
function drawTop(context: CanvasRenderingContext2D, { tops, errors, xOf, bottom, colours, right }: Tops): void {
  context.fillStyle = colours.ink;
  tops.forEach((value, rank) => {
    const x = xOf(value);
    const error = errors[rank] ?? 0;
    const [from, to] = [xOf(value - error), Math.min(xOf(value + error), right)];
    // A bar that the pennant would hide says nothing.
    if (to - from > 9) context.fillRect(from, bottom + 5, to - from, 1.5);
    context.beginPath();
    context.moveTo(x, bottom + 1);
    context.lineTo(x - 4.5, bottom + 9);
    context.lineTo(x + 4.5, bottom + 9);
    context.fill();
    if (rank > 0) return;
    context.font = `600 ${FONT}`;
    context.textBaseline = "bottom";
    const half = context.measureText(number(value)).width / 2;
    context.textAlign = "center";
    context.fillText(number(value), Math.min(x, right - half), bottom - 4);
    context.font = FONT;
  });
}

/** 2 / learning rate: plain gradient descent is stable below it. */
function drawEdge(
  context: CanvasRenderingContext2D, { x, edge, frame, colours }: { x: number; edge: number; frame: Frame; colours: Palette },
): void {
  context.save();
  context.setLineDash([7, 4]);
  context.strokeStyle = colours.ink;
  context.lineWidth = 1.2;
  context.beginPath();
  context.moveTo(x, frame.top);
  context.lineTo(x, frame.top + frame.height);
  context.stroke();
  context.restore();
  context.font = `600 ${FONT}`;
  context.fillStyle = colours.ink;
  context.textBaseline = "bottom";
  const text = `2 / learning rate: ${number(edge)}`;
  const room = x + context.measureText(text).width < frame.left + frame.width;
  context.textAlign = room ? "left" : "right";
  context.fillText(text, x, frame.top - 4);
  context.font = FONT;
}
