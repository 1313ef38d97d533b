// The page of one run: its data in, its views out, in the order one reads them.
import { useMemo, useRef, useState } from "preact/hooks";
import type { Diagnosis, PageData } from "../data";
import { Focus } from "../focus";
import { Alarm } from "./Alarm";
import { Asked } from "./Asked";
import type { Place } from "./App";
import { Deeds } from "./Deeds";
import { EventList } from "./EventList";
import { Masthead, RunState } from "./Masthead";
import { PageFoot } from "./PageFoot";
import { Replays } from "./Replays";
import { Rescue } from "./Rescue";
import { RunFacts } from "./RunFacts";
import { approach, StreamParts } from "./StreamParts";
import { Tracks } from "./Tracks";
import { Trials } from "./Trials";
import { Notice } from "./Trouble";
import type { Opened } from "./useRun";
import { Verdict } from "./Verdict";

interface Props {
  data: PageData;
  opened: Opened;
  place: Place;
}

export function RunPage({ data, opened, place }: Props) {
  const focus = useRef(new Focus()).current;
  const [chosen, choose] = useState<string | null>(null);
  const stream = chosen ?? data.diagnoses[0]?.stream;
  const shown = data.streams.find((one) => one.name === stream) ?? data.streams[0];
  const accusing = useMemo(
    () => data.diagnoses.filter((diagnosis) => diagnosis.stream === shown?.name),
    [data.diagnoses, shown?.name],
  );
  const bare = isBare(data);
  const point = (diagnosis: Diagnosis): void => {
    choose(diagnosis.stream);
    // The charts of another stream are drawn first.
    requestAnimationFrame(() => {
      focus.layer(diagnosis.layer);
      focus.step(diagnosis.onset);
      reach("linked");
    });
  };
  const happened = useMemo(
    () => <EventList events={data.events} show={(step) => { focus.step(step); approach(); }} />,
    [data.events, focus]);
  const done = useMemo(
    () => <Deeds events={data.events} show={(step) => { focus.step(step); approach(); }} />,
    [data.events, focus]);
  const asking = opened.source.kind === "server" && data.run.status === "running";
  return (
    <>
      {!bare && <a class="skip" href="#linked" onClick={(event) => { event.preventDefault(); reach("linked"); }}>
        Skip to the charts
      </a>}
      <Masthead heading={data.run.name} place={place} connection={opened.connection}>
        {!bare && <RunState run={data.run} />}
      </Masthead>
      <Alarm found={opened.alarms} run={data.run.name} show={point} dismiss={opened.dismiss} />
      {opened.trouble && <Notice error={opened.trouble} />}
      <main>
        {asking && (
          <Asked events={data.events} answer={(question, word) => opened.source.answer(data.run.name, question, word)} />
        )}
        {!bare && <Verdict data={data} show={point} />}
        {(data.rescues ?? []).map((one, index) => <Rescue key={index} told={one} />)}
        {(data.replays ?? []).length > 0 && <Replays replays={data.replays ?? []} />}
        {data.verdicts.length > 0 && <Trials verdicts={data.verdicts} />}
        {shown && !bare && (
          <section id="linked" tabIndex={-1} aria-labelledby="linked-title">
            <div class="heading">
              <h2 id="linked-title">Where and when</h2>
              {data.streams.length > 1 && (
                <Streams names={data.streams.map((one) => one.name)} shown={shown.name} choose={choose} />
              )}
            </div>
            <Tracks
              key={shown.name} data={data} stream={shown} accusing={accusing} theme={place.theme}
              focus={focus} opened={opened}
            />
          </section>
        )}
        {shown && (
          <StreamParts
            key={`parts of ${shown.name}`} stream={shown} accusing={accusing} focus={focus} opened={opened}
            theme={place.theme}
          />
        )}
        {!bare && done}
        {!bare && happened}
        <RunFacts data={data} />
      </main>
      <PageFoot name={data.run.name} report={opened.source.reportAddress(data.run.name)} />
    </>
  );
}

/** A page of a slice alone: nothing was recorded over steps, and nothing is judged. */
export function isBare(data: PageData): boolean {
  return data.looked_at.length === 0 && data.diagnoses.length === 0
    && data.streams.some((stream) => stream.field_offers.length > 0);
}

/** Scrolls to a part of the page and gives it the focus, without touching the address. */
function reach(id: string): void {
  const part = document.getElementById(id);
  part?.focus({ preventScroll: true });
  part?.scrollIntoView();
}

interface StreamsProps {
  names: string[];
  shown: string;
  choose: (name: string) => void;
}

function Streams({ names, shown, choose }: StreamsProps) {
  return (
    <label class="chooser">
      Optimizer{" "}
      <select value={shown} onChange={(event) => choose(event.currentTarget.value)}>
        {names.map((name) => <option key={name} value={name}>{name}</option>)}
      </select>
    </label>
  );
}
