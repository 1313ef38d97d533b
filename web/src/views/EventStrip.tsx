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

export function EventStrip({ events, shared }: Props) {
  const frame = useRef<HTMLDivElement>(null);
  const width = useWidth(frame);
  const [from, to] = shared.range;
  const shown = events.filter((event) => event.kind !== "start" && event.step >= from && event.step <= to);
  if (!events.some((event) => event.kind !== "start")) return null;
  const plot = width - AXIS;
  return (
    <div class="track strip" data-view="event-strip">
      <div class="title"><h3>Events</h3></div>
      <div class="chart" ref={frame}>
        <svg width={width} height="26" aria-hidden="true">
          <line class="rail" x1={AXIS} x2={width} y1="13" y2="13" />
          {shown.slice(0, MOST).map((event, index) => {
            const shape = SHAPES[event.kind] ?? DOT;
            const x = AXIS + Math.min(Math.max(((event.step - from) / (to - from)) * plot, 6), plot - 6);
            return (
              <g key={index} transform={`translate(${x} 13)`} class={shape.tone}>
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
