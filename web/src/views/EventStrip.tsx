// When things happened, above the map: events in, signs on the step axis out.
import { useMemo, useRef, useState } from "preact/hooks";
import type { RunEvent } from "../data";
import { describe, kindWords } from "../events";
import { step } from "../format";
import { type Placed, placed, signAt } from "../lanes";
import type { Shared } from "./Tracks";
import { AXIS, useWidth } from "./useWidth";

interface Props {
  events: RunEvent[];
  shared: Shared;
}

const LANE = 15;

export function EventStrip({ events, shared }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const width = useWidth(box);
  const [at, point] = useState<number | null>(null);
  const shown = useMemo(() => events.filter((event) => event.kind !== "start"), [events]);
  const { signs, lanes } = useMemo(
    () => placed(shown, shared.range, [AXIS, Math.max(width, AXIS + 12)]), [shown, shared.range, width]);
  if (!shown.length) return null;
  const height = LANE * lanes + 4;
  const go = (next: number | null): void => {
    point(next);
    shared.pointer.move(next === null ? null : signs[next]?.events[0]?.step ?? null);
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const next = keyed(event.key, at, signs.length);
    if (next === undefined) return;
    event.preventDefault();
    go(next);
  };
  const onPointerMove = (event: PointerEvent): void => {
    const seen = (event.currentTarget as HTMLElement).getBoundingClientRect();
    const next = signAt(signs, event.clientX - seen.left, (event.clientY - seen.top - 2) / LANE - 0.5);
    if (next !== at) go(next);
  };
  const sign = at === null ? undefined : signs[at];
  return (
    <div class="track strip" data-view="event-strip">
      <div class="title"><h3>Events</h3></div>
      <div
        class="chart" ref={box} tabIndex={0} role="group" aria-roledescription="timeline"
        aria-label={`${shown.length} events; arrow keys walk through them`} onKeyDown={onKeyDown}
        onPointerMove={onPointerMove} onPointerLeave={() => go(null)} onBlur={() => point(null)}
      >
        <svg width={width} height={height} aria-hidden="true">
          {Array.from({ length: lanes }, (_, lane) => (
            <line key={lane} class="rail" x1={AXIS} x2={width} y1={yOf(lane)} y2={yOf(lane)} />
          ))}
          {signs.map((one, index) => (
            <g key={index} transform={`translate(${one.x} ${yOf(one.lane)}) scale(${index === at ? 1.25 : 0.9})`} class={one.group.tone}>
              <path d={one.group.path} />
            </g>
          ))}
        </svg>
        {sign && <Tip sign={sign} width={width} />}
        <p class="spoken" aria-live="polite">{sign && spoken(sign)}</p>
      </div>
      <div class="readings"><p class="at">{step(signs.reduce((sum, one) => sum + one.events.length, 0))} in view, listed below</p></div>
    </div>
  );
}

function yOf(lane: number): number {
  return 2 + LANE * (lane + 0.5);
}

/** The sign after a key; undefined for keys that mean nothing here. */
export function keyed(key: string, at: number | null, count: number): number | null | undefined {
  switch (key) {
    case "ArrowRight": return Math.min(at === null ? 0 : at + 1, count - 1);
    case "ArrowLeft": return Math.max(at === null ? count - 1 : at - 1, 0);
    case "Home": return 0;
    case "End": return count - 1;
    case "Escape": return null;
    default: return undefined;
  }
}

const TOLD = 4; // events that a tip tells of

function Tip({ sign, width }: { sign: Placed; width: number }) {
  const style = {
    top: `${yOf(sign.lane) + 11}px`,
    ...(sign.x > width / 2 ? { right: `${width - sign.x - 8}px` } : { left: `${sign.x - 8}px` }),
  };
  return (
    <div class="tip" style={style}>
      {sign.events.slice(0, TOLD).map((event, index) => (
        <p key={index}><b>step {step(event.step)}</b> {describe(event)}</p>
      ))}
      {sign.events.length > TOLD && <p class="soft">and {sign.events.length - TOLD} more like it</p>}
    </div>
  );
}

function spoken(sign: Placed): string {
  return sign.events.slice(0, TOLD)
    .map((event) => `step ${step(event.step)}, ${kindWords(event.kind)}: ${describe(event)}`)
    .join("; ");
}
