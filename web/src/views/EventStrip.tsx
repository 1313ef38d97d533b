// When things happened, above the map: events in, signs on the step axis out.
import { useRef } from "preact/hooks";
import type { RunEvent } from "../data";
import { step } from "../format";
import { describe } from "../words";
import type { Shared } from "./Tracks";
import { AXIS, useWidth } from "./useWidth";

interface Props {
  events: RunEvent[];
  shared: Shared;
}

const SHAPES: Record<string, { path: string; tone: string }> = {
  nonfinite: { path: "M-5-5 5 5M5-5-5 5", tone: "alarm cross" },
  finding: { path: "M0-6 6 5H-6z", tone: "alarm" },
  change: { path: "M0-6 6 0 0 6-6 0z", tone: "act" },
  skipped_step: { path: "M-5-5h10v10h-10z", tone: "alert" },
  probe_off: { path: "M-5-5h10v10h-10z", tone: "quiet" },
  end: { path: "M-1.5-7h3v14h-3z", tone: "quiet" },
};
const DOT = { path: "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0", tone: "quiet" };
const MOST = 400;
const HEIGHT = 30;
const SIGN = 12;

export function EventStrip({ events, shared }: Props) {
  const frame = useRef<HTMLDivElement>(null);
  const width = useWidth(frame);
  const [from, to] = shared.range;
  const shown = events.filter((event) => event.kind !== "start" && event.step >= from && event.step <= to);
  if (!events.some((event) => event.kind !== "start")) return null;
  return (
    <div class="track strip" data-view="event-strip">
      <div class="title"><h3>Events</h3></div>
      <div class="chart" ref={frame}>
        <svg width={width} height={HEIGHT} aria-hidden="true">
          <line class="rail" x1={AXIS} x2={width} y1={HEIGHT / 2} y2={HEIGHT / 2} />
          {placed(shown.slice(0, MOST), shared.range, width).map(({ event, x, y }, index) => {
            const shape = SHAPES[event.kind] ?? DOT;
            return (
              <g key={index} transform={`translate(${x} ${y})`} class={shape.tone}>
                <title>{`step ${step(event.step)}: ${describe(event)}`}</title>
                <path d={shape.path} />
              </g>
            );
          })}
        </svg>
      </div>
      <div class="readings"><p class="at">{shown.length} in view, listed below</p></div>
    </div>
  );
}

interface Placed {
  event: RunEvent;
  x: number;
  y: number;
}

/** Signs on their steps; those that would hide another go below or above it. */
function placed(events: RunEvent[], [from, to]: Shared["range"], width: number): Placed[] {
  const plot = width - AXIS;
  let last = -Infinity;
  let crowd = 0;
  return events.map((event) => {
    const x = AXIS + Math.min(Math.max(((event.step - from) / (to - from)) * plot, 6), plot - 6);
    crowd = x - last < SIGN ? crowd + 1 : 0;
    last = x;
    const rows = [0, -1, 1];
    return { event, x, y: HEIGHT / 2 + (rows[crowd % 3] ?? 0) * 9 };
  });
}
