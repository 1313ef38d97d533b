// One line chart of the strip: a panel in, a chart with its readings out.
import { useLayoutEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { columns, type Drawing, formOf, type Level, options } from "../chart";
import type { LinePanel } from "../data";
import { AXIS_HEIGHT } from "../steps";
import { palette } from "../theme";
import { Readings } from "./Readings";
import type { Shared } from "./Tracks";
import { useTurn } from "./useTurn";
import { AXIS, useWidth } from "./useWidth";

interface Props {
  name: string;
  panel: LinePanel;
  shared: Shared;
  height: number;
  axis?: boolean;
  faint?: Set<number>;
  title?: preact.ComponentChildren;
  levels?: Level[];
  sparse?: boolean;
}

const NONE = new Set<number>();
const ACTED = ["loss", "lr"]; // where one looks for what a change did
const NO_LEVELS: Level[] = [];

export function LineTrack(props: Props) {
  const { name, panel, shared, height, axis = false, faint = NONE, title, levels = NO_LEVELS, sparse = false } = props;
  const frame = useRef<HTMLDivElement>(null);
  useChart(frame, { name, panel, shared, height: height + (axis ? AXIS_HEIGHT : 0), axis, faint, levels, sparse });
  return (
    <div class="track line" data-view={name}>
      <div class="title">
        <h3>{title ?? panel.title}</h3>
        {panel.unit && <span class="unit">{panel.unit}</span>}
        {panel.log && <span class="unit">log scale</span>}
      </div>
      <div class="chart" ref={frame} role="img" aria-label={spoken(panel)} />
      <Readings name={name} panel={panel} faint={faint} shared={shared} sparse={sparse} />
    </div>
  );
}

interface Chart {
  name: string;
  panel: LinePanel;
  shared: Shared;
  height: number;
  axis: boolean;
  faint: Set<number>;
  levels: Level[];
  sparse: boolean;
}

/** Keeps a uPlot chart in step with the shared range, pointer and theme, and new readings. */
function useChart(frame: preact.RefObject<HTMLDivElement>, chart: Chart): void {
  const { panel, shared, height, axis, faint, levels, sparse } = chart;
  const width = useWidth(frame);
  const plot = useRef<uPlot | null>(null);
  const drawing = useRef<Drawing | null>(null);
  const now = useRef(chart);
  now.current = chart;
  const form = formOf(panel);
  const marked = [...faint].join();
  const named = JSON.stringify(levels);
  useLayoutEffect(() => {
    const target = frame.current;
    if (!target || width < 80) return undefined;
    const pointer = new Following(() => now.current.shared);
    drawing.current = {
      panel: now.current.panel, faint: now.current.faint, levels: now.current.levels, sparse,
      colours: palette(), onset: now.current.shared.onset,
      size: { width, height, axis: AXIS, showSteps: axis },
      range: () => now.current.shared.range,
      acts: () => (ACTED.includes(now.current.name) ? now.current.shared.acts : []),
      onZoom: (range) => now.current.shared.zoom(range),
      onPoint: (step) => pointer.told(step, plot.current),
    };
    const drawn = new uPlot(options(drawing.current), columns(now.current.panel), target);
    drawn.over.addEventListener("dblclick", () => now.current.shared.zoom(now.current.shared.whole));
    plot.current = drawn;
    const stop = pointer.follow(drawn);
    return () => { stop(); drawn.destroy(); plot.current = null; };
  }, [frame, form, marked, named, sparse, width, height, axis, shared.theme, shared.pointer, shared.onset]);
  useTurn(shared.turns, () => refresh(plot.current, drawing.current, now.current), [panel, shared.acts.length, ...shared.range]);
}

/** Gives a chart the readings and the range that it does not show yet. */
function refresh(plot: uPlot | null, drawing: Drawing | null, { panel, shared }: Chart): void {
  if (!plot || !drawing) return;
  plot.batch(() => {
    if (drawing.panel !== panel) {
      drawing.panel = panel;
      plot.setData(columns(panel));
    }
    if (drawing.acted !== shared.acts.length) {
      drawing.acted = shared.acts.length;
      plot.redraw(false);
    }
    plot.setScale("x", { min: shared.range[0], max: shared.range[1] });
  });
  // The step that is pointed at has moved with the scale.
  const { step } = shared.pointer.place;
  if (step !== null && !plot.over.matches(":hover")) plot.setCursor({ left: plot.valToPos(step, "x"), top: 1 }, false);
}

/** Tells a chart's own pointer from one that it was given by another chart. */
class Following {
  private following = false;
  private pointing = false; // a new chart reports "no pointer", which must not clear others'

  constructor(private readonly shared: () => Shared) {}

  told(step: number | null, plot: uPlot | null): void {
    if (this.following) return;
    // A scale that moves under another chart's pointer is no pointing.
    if (step !== null && !plot?.over.matches(":hover")) return;
    if (this.pointing || step !== null) this.shared().pointer.move(step);
    this.pointing = step !== null;
  }

  follow(plot: uPlot): () => void {
    return this.shared().pointer.follow((place) => {
      this.following = true;
      const left = place.step === null ? -10 : plot.valToPos(place.step, "x");
      if (!plot.over.matches(":hover")) plot.setCursor({ left, top: place.step === null ? -10 : 1 }, false);
      this.following = false;
    });
  }
}

function spoken(panel: LinePanel): string {
  const marks = panel.marks.map((mark) => `${mark.label} at step ${mark.step ?? "unknown"}`);
  return [`${panel.title} over steps ${panel.x[0] ?? 0} to ${panel.x.at(-1) ?? 0}`, ...marks].join("; ");
}
