// One line chart of the strip: a panel in, a chart with its readings out.
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { columns, type Level, options } from "../chart";
import type { LinePanel } from "../data";
import { AXIS_HEIGHT } from "../steps";
import { palette } from "../theme";
import { Readings } from "./Readings";
import type { Shared } from "./Tracks";
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
const NO_LEVELS: Level[] = [];

export function LineTrack(props: Props) {
  const { name, panel, shared, height, axis = false, faint = NONE, title, levels = NO_LEVELS, sparse = false } = props;
  const frame = useRef<HTMLDivElement>(null);
  useChart(frame, { panel, shared, height: height + (axis ? AXIS_HEIGHT : 0), axis, faint, levels, sparse });
  return (
    <div class="track line" data-view={name}>
      <div class="title">
        <h3>{title ?? panel.title}</h3>
        {panel.unit && <span class="unit">{panel.unit}</span>}
        {panel.log && <span class="unit">log scale</span>}
      </div>
      <div class="chart" ref={frame} role="img" aria-label={spoken(panel)} />
      <Readings name={name} panel={panel} faint={faint} shared={shared} />
    </div>
  );
}

interface Chart {
  panel: LinePanel;
  shared: Shared;
  height: number;
  axis: boolean;
  faint: Set<number>;
  levels: Level[];
  sparse: boolean;
}

/** Keeps a uPlot chart in step with the shared range, pointer and theme. */
function useChart(frame: preact.RefObject<HTMLDivElement>, chart: Chart): void {
  const { panel, shared, height, axis, faint, levels, sparse } = chart;
  const width = useWidth(frame);
  const plot = useRef<uPlot | null>(null);
  const now = useRef(shared);
  now.current = shared;
  useLayoutEffect(() => {
    const target = frame.current;
    if (!target || width < 80) return undefined;
    let following = false;
    let pointing = false; // a new chart reports "no pointer", which must not clear others'
    const drawn = new uPlot(
      options({
        panel, faint, levels, sparse, colours: palette(), onset: shared.onset,
        size: { width, height, axis: AXIS, showSteps: axis },
        range: () => now.current.range,
        onZoom: (range) => now.current.zoom(range),
        onPoint: (step) => {
          if (!following && (pointing || step !== null)) now.current.pointer.move(step);
          if (!following) pointing = step !== null;
        },
      }),
      columns(panel),
      target,
    );
    const whole = (): void => now.current.zoom(now.current.whole);
    drawn.over.addEventListener("dblclick", whole);
    plot.current = drawn;
    const stop = shared.pointer.follow((place) => {
      following = true;
      const left = place.step === null ? -10 : drawn.valToPos(place.step, "x");
      if (!drawn.over.matches(":hover")) drawn.setCursor({ left, top: place.step === null ? -10 : 1 }, false);
      following = false;
    });
    return () => { stop(); drawn.destroy(); };
  }, [frame, panel, width, height, axis, faint, levels, sparse, shared.theme, shared.pointer, shared.onset]);
  useEffect(() => {
    plot.current?.setScale("x", { min: shared.range[0], max: shared.range[1] });
  }, [shared.range]);
}

function spoken(panel: LinePanel): string {
  const marks = panel.marks.map((mark) => `${mark.label} at step ${mark.step ?? "unknown"}`);
  return [`${panel.title} over steps ${panel.x[0] ?? 0} to ${panel.x.at(-1) ?? 0}`, ...marks].join("; ");
}
