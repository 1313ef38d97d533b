// uPlot, told what our line charts look like: a panel in, its options out.
import uPlot from "uplot";
import { drawBands } from "./band";
import type { LinePanel } from "./data";
import { number } from "./format";
import { drawOnset } from "./heat";
import type { Range } from "./link";
import { AXIS_HEIGHT, drawSteps, FONT } from "./steps";
import { faded, type Palette } from "./theme";

/** A value with a name: a bound, an edge; drawn across the chart. */
export interface Level {
  value: number;
  label: string;
}

const SPARSE = 80; // readings of a sparse line from which dots would touch

export interface Drawing {
  /** May be replaced by a longer one of the same form: see formOf. */
  panel: LinePanel;
  colours: Palette;
  size: { width: number; height: number; axis: number; showSteps: boolean };
  range: () => Range;
  /** Steps at which something was done to the training. */
  acts: () => number[];
  /** How many of them have been drawn. */
  acted?: number;
  onset: number | null;
  /** Lines drawn faint, for context: their indexes in the panel. */
  faint: Set<number>;
  levels: Level[];
  /** Readings far apart: joined, and each one shown as a dot. */
  sparse: boolean;
  onZoom: (range: Range) => void;
  onPoint: (step: number | null) => void;
}

/** x first, then low (and high) of each line. */
export function columns(panel: LinePanel): uPlot.AlignedData {
  const rows = panel.y.flatMap((_, line) => {
    const low = panel.low[line] ?? [];
    return panel.high ? [low, panel.high[line] ?? []] : [low];
  });
  const shown = panel.log ? rows.map((row) => row.map(positive)) : rows;
  return [panel.x, ...shown] as uPlot.AlignedData;
}

/** What a chart is made anew for; the rest of a panel are numbers and marks. */
export function formOf(panel: LinePanel): string {
  return JSON.stringify([panel.log, panel.high !== null, few(panel), dense(panel), ...panel.y]);
}

function fills({ panel, colours, faint }: Drawing): string[] {
  return panel.y.map((_, line) => (faint.has(line) ? faded(colours.faint, 0.3) : faded(colourOf(line, faint, colours), 0.35)));
}

/**
 * So many points that the line is drawn one pixel wide. Without a graphics card a
 * wider one of thousands of corners takes longer than a frame.
 */
function dense(panel: LinePanel): boolean {
  return panel.high !== null || panel.x.length > 500;
}

/** So few points that one does not see them unless they are dots. */
function few(panel: LinePanel): boolean {
  return panel.x.length < 30;
}

function positive(value: number | null): number | null {
  return value !== null && value > 0 ? value : null;
}

export function colourOf(line: number, faint: Set<number>, colours: Palette): string {
  if (faint.has(line)) return faded(colours.faint, 0.3);
  const strong = line - [...faint].filter((other) => other < line).length;
  return colours.lines[strong % colours.lines.length] ?? colours.ink;
}

export function options(drawing: Drawing): uPlot.Options {
  const { panel, colours, size } = drawing;
  return {
    width: size.width,
    height: size.height,
    padding: [12, 0, size.showSteps ? AXIS_HEIGHT : 6, 0],
    legend: { show: false },
    cursor: {
      y: false,
      drag: { x: true, y: false, setScale: false },
      points: { size: 6, width: 1.5, fill: colours.paper },
    },
    scales: {
      x: { time: false, range: () => drawing.range() },
      y: panel.log
        ? { distr: 3, range: (_, low, high) => paddedLog(...including(drawing.levels, low, high)) }
        : { range: (_, low, high) => padded(...including(drawing.levels, low, high)) },
    },
    axes: axes(drawing),
    series: [{}, ...series(drawing)],
    hooks: hooks(drawing),
  };
}

/** The range of the readings, widened so that the levels are seen too. */
function including(levels: Level[], low: number | null, high: number | null): [number | null, number | null] {
  const values = levels.map((level) => level.value);
  if (!values.length || low === null || high === null) return [low, high];
  return [Math.min(low, ...values), Math.max(high, ...values)];
}

/** At least one power of ten lies in it, so that the axis can be labelled. */
export function paddedLog(low: number | null, high: number | null): uPlot.Range.MinMax {
  if (low === null || high === null || low <= 0) return [0.1, 10];
  const [from, to] = [Math.log10(low), Math.log10(high)];
  if (to - from < 1) return [10 ** Math.floor(from), 10 ** Math.max(Math.ceil(to), Math.floor(from) + 1)];
  const air = (to - from) * 0.06;
  return [10 ** (from - air), 10 ** (to + air)];
}

/** Powers of ten inside a range, at most six; with few of them also their 2- and 5-fold. */
export function powers(low: number, high: number): number[] {
  const first = Math.ceil(Math.log10(low) - 1e-9);
  const last = Math.floor(Math.log10(high) + 1e-9);
  if (last - first < 2) {
    const all = [first - 1, first, first + 1].flatMap((power) => [1, 2, 5].map((times) => times * 10 ** power));
    const inside = all.filter((mark) => mark >= low && mark <= high);
    if (inside.length <= 5) return inside;
  }
  const every = Math.ceil((last - first + 1) / 6);
  return Array.from({ length: Math.floor((last - first) / every) + 1 }, (_, at) => 10 ** (first + at * every));
}

function padded(low: number | null, high: number | null): uPlot.Range.MinMax {
  if (low === null || high === null) return [0, 1];
  if (low === high) return low === 0 ? [0, 1] : [low - Math.abs(low) * 0.5, high + Math.abs(high) * 0.5];
  const air = (high - low) * 0.06;
  return [low >= 0 ? Math.max(low - air, 0) : low - air, high + air];
}

function series({ panel, colours, faint, sparse }: Drawing): uPlot.Series[] {
  return panel.y.flatMap((label, line) => {
    const one: uPlot.Series = {
      label,
      stroke: colourOf(line, faint, colours),
      width: faint.has(line) ? 0.75 : dense(panel) ? 1 : 1.6,
      points: { show: dotted(panel, line, sparse) && !faint.has(line), size: 4 },
      spanGaps: sparse,
    };
    return panel.high ? [one, { ...one }] : [one];
  });
}

/** Dots only where they stand apart. */
function dotted(panel: LinePanel, line: number, sparse: boolean): boolean {
  if (!sparse) return few(panel);
  return (panel.low[line] ?? []).filter((value) => value !== null).length < SPARSE;
}

function axes({ panel, colours, size }: Drawing): uPlot.Axis[] {
  return [
    { show: false },
    {
      stroke: colours.soft, font: FONT, size: size.axis, gap: 6, ticks: { show: false },
      grid: { stroke: colours.grid, width: 1 },
      ...(panel.log ? { splits: (_: uPlot, __: number, low: number, high: number) => powers(low, high), filter: all } : {}),
      space: 30,
      values: (_, marks, __, ___, gap) =>
        panel.log ? marks.map((mark) => tight(number(mark, 2))) : labels(marks, gap),
    },
  ];
}

/** uPlot leaves out some marks of a logarithmic axis unless it is told not to. */
function all(_: uPlot, marks: number[]): number[] {
  return marks;
}

/** As many decimals as the gap between two labels needs. */
export function labels(marks: number[], gap: number): string[] {
  const largest = Math.max(...marks.map(Math.abs));
  if (largest >= 1e5 || largest < 1e-3) return marks.map((mark) => tight(number(mark, 2)));
  const decimals = Math.max(0, [0, 1, 2, 3, 4, 5].findIndex((digits) => whole(gap * 10 ** digits)));
  return marks.map((mark) => mark.toFixed(decimals).replace("-", "−"));
}

function whole(value: number): boolean {
  return Math.abs(value - Math.round(value)) < 1e-6 * value;
}

/** "2 × 10⁻⁴" without its spaces: the axis is narrow. */
function tight(text: string): string {
  return text.replaceAll(" ", "");
}

function hooks(drawing: Drawing): uPlot.Hooks.Arrays {
  return {
    setSelect: [
      (plot) => {
        const { left, width } = plot.select;
        if (width < 4) return;
        drawing.onZoom([plot.posToVal(left, "x"), plot.posToVal(left + width, "x")]);
        plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
      },
    ],
    setCursor: [
      (plot) => {
        const left = plot.cursor.left ?? -1;
        drawing.onPoint(left < 0 ? null : plot.posToVal(left, "x"));
      },
    ],
    drawAxes: [(plot) => { if (drawing.panel.high) drawBands(plot, fills(drawing), drawing.sparse); }],
    draw: [(plot) => drawMarks(plot, drawing)],
  };
}

function drawMarks(plot: uPlot, drawing: Drawing): void {
  const { panel, colours, onset, size } = drawing;
  const context = plot.ctx;
  const { left, top, width, height } = plot.bbox;
  const ratio = devicePixelRatio;
  const inside = (x: number): boolean => x >= left && x <= left + width;
  context.save();
  context.scale(ratio, ratio);
  if (onset !== null) {
    const x = plot.valToPos(onset, "x", true);
    if (inside(x)) {
      drawOnset(context, x / ratio - 1, [top / ratio, (top + height) / ratio], {
        colour: colours.alarm, halo: "transparent",
      });
    }
  }
  drawActs(context, drawing, {
    top: top / ratio, bottom: (top + height) / ratio, inside,
    at: (step) => plot.valToPos(step, "x", true), ratio,
  });
  for (const level of drawing.levels) {
    const y = plot.valToPos(level.value, "y", true);
    if (y >= top && y <= top + height) {
      drawLevel(context, y / ratio, { label: level.label, colours, left: left / ratio, right: (left + width) / ratio });
    }
  }
  for (const mark of panel.marks) {
    if (mark.step === null) continue;
    const x = plot.valToPos(mark.step, "x", true);
    if (inside(x)) drawPennant(context, x / ratio, top / ratio, { ...mark, colours, right: (left + width) / ratio });
  }
  if (size.showSteps) {
    drawSteps(context, {
      ...colours, onset, range: drawing.range(), left: left / ratio, width: width / ratio,
      top: (top + height) / ratio,
    });
  }
  context.restore();
}

const MOST_ACTS = 60; // lines from which they would cover the chart

interface Acts {
  top: number;
  bottom: number;
  ratio: number;
  at: (step: number) => number;
  inside: (x: number) => boolean;
}

/** A faint line at each change, with a lozenge as in the strip of events. */
function drawActs(context: CanvasRenderingContext2D, drawing: Drawing, where: Acts): void {
  const seen = drawing.acts().map(where.at).filter(where.inside).map((x) => x / where.ratio);
  if (!seen.length) return;
  context.save();
  context.fillStyle = drawing.colours.act;
  context.strokeStyle = drawing.colours.act;
  context.globalAlpha = 0.55;
  context.setLineDash([2, 3]);
  context.lineWidth = 1;
  if (seen.length <= MOST_ACTS) {
    context.beginPath();
    for (const x of seen) {
      context.moveTo(x, where.top);
      context.lineTo(x, where.bottom);
    }
    context.stroke();
  }
  context.globalAlpha = 1;
  for (const x of seen) {
    context.beginPath();
    context.moveTo(x, where.bottom - 8);
    context.lineTo(x + 3.5, where.bottom - 4);
    context.lineTo(x, where.bottom);
    context.lineTo(x - 3.5, where.bottom - 4);
    context.fill();
  }
  context.restore();
}

interface Across {
  label: string;
  colours: Palette;
  left: number;
  right: number;
}

/** A broken line from side to side, its name above its left end. */
function drawLevel(context: CanvasRenderingContext2D, y: number, level: Across): void {
  context.save();
  context.strokeStyle = level.colours.ink;
  context.lineWidth = 1.2;
  context.setLineDash([7, 4]);
  context.beginPath();
  context.moveTo(level.left, y);
  context.lineTo(level.right, y);
  context.stroke();
  context.setLineDash([]);
  context.font = `600 ${FONT}`;
  context.textBaseline = "bottom";
  context.textAlign = "left";
  context.strokeStyle = level.colours.paper;
  context.lineWidth = 3;
  context.strokeText(level.label, level.left + 6, y - 2);
  context.fillStyle = level.colours.ink;
  context.fillText(level.label, level.left + 6, y - 2);
  context.restore();
}

interface Pennant {
  label: string;
  colours: Palette;
  right: number;
}

/** A small triangle at the upper rim, and its label on the side with room. */
function drawPennant(context: CanvasRenderingContext2D, x: number, top: number, mark: Pennant): void {
  context.fillStyle = mark.colours.alarm;
  context.beginPath();
  context.moveTo(x - 5, top - 9);
  context.lineTo(x + 5, top - 9);
  context.lineTo(x, top - 1);
  context.fill();
  context.font = `600 ${FONT}`;
  context.textBaseline = "top";
  const room = mark.right - x > context.measureText(mark.label).width + 12;
  context.textAlign = room ? "left" : "right";
  context.strokeStyle = mark.colours.paper;
  context.lineWidth = 3;
  context.strokeText(mark.label, room ? x + 7 : x - 7, top - 10);
  context.fillText(mark.label, room ? x + 7 : x - 7, top - 10);
}
