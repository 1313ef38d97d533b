// What happened, in order: events in, a list to filter out.
import { useMemo, useState } from "preact/hooks";
import type { RunEvent } from "../data";
import { counted, folded, type Group, groupOf, kindWords, type Line, told } from "../events";
import { step } from "../format";
import { knob, plain, sentence } from "../words";

interface Props {
  events: RunEvent[];
  /** Shows that step in the charts. */
  show?: (step: number) => void;
}

const FIRST = 6;
const LAST = 8;
const MORE = 100;

export function EventList({ events, show }: Props) {
  const [hidden, hide] = useState<ReadonlySet<string>>(new Set());
  const [between, open] = useState(0);
  const groups = useMemo(() => counted(events), [events]);
  const lines = useMemo(
    () => folded(events.filter((event) => !hidden.has(groupOf(event.kind).name))), [events, hidden]);
  if (!events.length) return null;
  const cut = Math.max(lines.length - FIRST - LAST - between, 0);
  const [head, tail] = cut > 2 ? [lines.slice(0, FIRST + between), lines.slice(lines.length - LAST)] : [lines, []];
  const flip = (name: string): void => {
    const next = new Set(hidden);
    if (!next.delete(name)) next.add(name);
    hide(next);
  };
  return (
    <section aria-labelledby="events-title" data-view="events">
      <div class="heading">
        <h2 id="events-title">What happened</h2>
        {groups.length > 1 && <Filter groups={groups} hidden={hidden} flip={flip} />}
      </div>
      <ol class="events">
        {head.map((line, index) => <Row key={index} line={line} show={show} />)}
        {tail.length > 0 && (
          <li class="gap">
            <button type="button" class="plain" onClick={() => open(between + MORE)}>
              {cut > MORE ? `Show ${MORE} of ${step(cut)} more` : `Show ${step(cut)} more`}
            </button>
          </li>
        )}
        {tail.map((line, index) => <Row key={`tail ${index}`} line={line} show={show} />)}
      </ol>
      {lines.length === 0 && <p class="nothing">All kinds of events are hidden.</p>}
    </section>
  );
}

interface FilterProps {
  groups: { group: Group; count: number }[];
  hidden: ReadonlySet<string>;
  flip: (name: string) => void;
}

function Filter({ groups, hidden, flip }: FilterProps) {
  return (
    <div class="filter" role="group" aria-label="Kinds of events">
      {groups.map(({ group, count }) => (
        <button
          key={group.name} type="button" class="toggle" aria-pressed={!hidden.has(group.name)}
          onClick={() => flip(group.name)}
        >
          <Sign group={group} /> {group.label[count === 1 ? 0 : 1]} <b>{step(count)}</b>
        </button>
      ))}
    </div>
  );
}

export function Sign({ group }: { group: Group }) {
  return (
    <svg class={`event-sign ${group.tone}`} viewBox="-8 -8 16 16" aria-hidden="true"><path d={group.path} /></svg>
  );
}

function Row({ line, show }: { line: Line; show: Props["show"] }) {
  const { event, last } = line;
  const group = groupOf(event.kind);
  const when = last > event.step ? `${step(event.step)}–${step(last)}` : step(event.step);
  return (
    <li class={`is-${group.name}`}>
      <span class="step">
        {show && event.step >= 0
          ? <button type="button" class="link" onClick={() => show(event.step)} aria-label={`Show step ${when} in the charts`}>{when}</button>
          : when}
      </span>
      <Sign group={group} />
      <span class="kind">{kindWords(event.kind)}</span>
      <span class="text">{event.kind === "change" ? <Change event={event} line={line} /> : told(line)}</span>
    </li>
  );
}

/** What it was, what it is, and why. */
function Change({ event, line }: { event: RunEvent; line: Line }) {
  const { knob: what, before, after, why, layers } = event.body;
  if (before === undefined && after === undefined) return <>{told(line)}</>;
  const where = plain(layers);
  return (
    <>
      {plain(what) && <span class="soft">{sentence(knob(plain(what)))}: </span>}
      <span class="before">{plain(before) || "unset"}</span> <span aria-label="became">→</span>{" "}
      <b>{plain(after) || "unset"}</b>
      {where && <span class="soft"> in {where}</span>}
      {plain(why) && <span class="why">{plain(why)}</span>}
    </>
  );
}
