// What happened, in order: events in, a list out.
import { useState } from "preact/hooks";
import type { RunEvent } from "../data";
import { step } from "../format";
import { describe, spaced } from "../words";

const FIRST = 12;

export function EventList({ events }: { events: RunEvent[] }) {
  const [all, showAll] = useState(false);
  if (!events.length) return null;
  const shown = all ? events : events.slice(0, FIRST);
  return (
    <section aria-labelledby="events-title" data-view="events">
      <div class="heading"><h2 id="events-title">What happened</h2></div>
      <ol class="events">
        {shown.map((event, index) => (
          <li key={index} class={event.kind}>
            <span class="step">{step(event.step)}</span>
            <span class="kind">{event.kind === "nonfinite" ? "non-finite" : spaced(event.kind)}</span>
            <span class="text">{describe(event)}</span>
          </li>
        ))}
      </ol>
      {events.length > FIRST && (
        <button type="button" class="plain" onClick={() => showAll(!all)}>
          {all ? "Show fewer" : `Show all ${events.length} events`}
        </button>
      )}
    </section>
  );
}
