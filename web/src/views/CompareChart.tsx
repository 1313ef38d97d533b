// Lines of many runs on one chart: a comparison in, uPlot with one line a run out.
import { useEffect, useLayoutEffect, useMemo, useRef } from "preact/hooks";
import uPlot from "uplot";
import { drawBands } from "../band";
import { columns, options } from "../chart";
import { aligned, strokeOf } from "../compare";
import type { Comparison, LinePanel } from "../data";
import type { Range } from "../link";
import { AXIS_HEIGHT } from "../steps";
import { faded, palette, type Theme } from "../theme";
import { AXIS, useWidth } from "./useWidth";

interface Props {
  compared: Comparison;
  log: boolean;
  theme: Theme;
  range: Range;
  zoom: (range: Range | null) => void;
  /** The line that stands out; the others are dimmed. */
  lit: number | null;
  light: (line: number | null) => void;
}

const HEIGHT = 420;
const NEAR = 24; // pixels: no nearer line, none stands out
const BANDS = 12; // with more lines than this, filled bands hide each other
const DIMMED = 0.14;

export function CompareChart(props: Props) {
  const { compared, log, theme, range, lit } = props;
  const frame = useRef<HTMLDivElement>(null);
  const width = useWidth(frame);
  const plot = useRef<uPlot | null>(null);
  const now = useRef(props);
  now.current = props;
  const panel = useMemo(() => panelOf(compared, log, range), [compared, log, range[0], range[1]]);
  const drawn = useRef(panel);
  const count = compared.lines.length;
  useLayoutEffect(() => {
    if (!frame.current || width < 80) return undefined;
    drawn.current = panel;
    const made = new uPlot(chartOptions(panel, width, now), columns(panel), frame.current);
    made.over.addEventListener("dblclick", () => now.current.zoom(null));
    plot.current = made;
    return () => { made.destroy(); plot.current = null; };
  }, [width, log, theme, count]);
  useLayoutEffect(() => {
    if (drawn.current === panel) return;
    drawn.current = panel;
    plot.current?.setData(columns(panel));
  }, [panel]);
  useEffect(() => {
    if (plot.current) dim(plot.current, lit);
  }, [lit, width, log, theme, count]);
  return (
    <div class="comparison">
      <div
        ref={frame} role="img"
        aria-label={`${compared.title} over steps, ${count} lines; the list below has their last values`}
      />
    </div>
  );
}

function panelOf(compared: Comparison, log: boolean, range: Range): LinePanel {
  const { title, unit, lines } = compared;
  return { kind: "line", title, unit, log, y: lines.map((line) => line.label), marks: [], ...aligned(lines, range) };
}

function chartOptions(panel: LinePanel, width: number, now: preact.RefObject<Props>): uPlot.Options {
  const colours = palette();
  const base = options({
    panel, colours, onset: null, faint: new Set(), levels: [], sparse: true, acts: () => [],
    size: { width, height: HEIGHT, axis: AXIS, showSteps: true },
    range: () => now.current?.range ?? [0, 1],
    onZoom: (range) => now.current?.zoom(range),
    onPoint: (step) => { if (step === null) now.current?.light(null); },
  });
  const many = panel.y.length > BANDS;
  const [first, ...lines] = base.series;
  const series = lines.map((one, at) => {
    const { colour, dash } = strokeOf(at >> 1, colours.lines);
    return { ...one, stroke: colour, dash, width: 1, points: { show: false } };
  });
  const fills = (lit: number | null): string[] => panel.y.map((_, line) => {
    const strength = line === lit ? 0.3 : many || lit !== null ? 0 : 0.2;
    return strength ? faded(strokeOf(line, colours.lines).colour, strength) : "";
  });
  const focused = (_: uPlot, at: number | null, how: { focus?: boolean }): void => {
    if (how.focus) now.current?.light(at === null ? null : (at - 1) >> 1);
  };
  return {
    ...base, series: [first ?? {}, ...series],
    height: HEIGHT + AXIS_HEIGHT,
    cursor: { ...base.cursor, points: { show: false }, focus: { prox: NEAR } },
    focus: { alpha: 1 },
    hooks: {
      ...base.hooks, drawAxes: [(plot: uPlot) => drawBands(plot, fills(now.current?.lit ?? null), true)],
      setSeries: [focused as NonNullable<uPlot.Hooks.Arrays["setSeries"]>[number]] },
  };
}

/** Dims all lines but one without computing their paths again. */
function dim(plot: uPlot, lit: number | null): void {
  plot.series.forEach((one, at) => {
    if (at > 0) one.alpha = lit === null || (at - 1) >> 1 === lit ? 1 : DIMMED;
  });
  plot.redraw(false);
}
