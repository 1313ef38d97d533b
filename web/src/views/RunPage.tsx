// The page of one run: its data in, its views out, in the order one reads them.
import { useMemo, useRef, useState } from "preact/hooks";
import type { PageData } from "../data";
import { Focus } from "../focus";
import type { Theme } from "../theme";
import { EventList } from "./EventList";
import { Masthead } from "./Masthead";
import { RunFacts } from "./RunFacts";
import { Tracks } from "./Tracks";
import { Trials } from "./Trials";
import { Verdict } from "./Verdict";

interface Props {
  data: PageData;
  theme: Theme;
  flip: () => void;
}

export function RunPage({ data, theme, flip }: Props) {
  const focus = useRef(new Focus()).current;
  const first = data.diagnoses[0];
  const [stream, choose] = useState(first?.stream ?? data.streams[0]?.name ?? "main");
  const shown = data.streams.find((one) => one.name === stream) ?? data.streams[0];
  const accusing = useMemo(
    () => data.diagnoses.filter((diagnosis) => diagnosis.stream === shown?.name),
    [data, shown],
  );
  return (
    <>
      <a class="skip" href="#linked">Skip to the charts</a>
      <Masthead run={data.run} theme={theme} flip={flip} />
      <main>
        <Verdict data={data} />
        {data.verdicts.length > 0 && <Trials verdicts={data.verdicts} />}
        {shown && (
          <section id="linked" aria-labelledby="linked-title">
            <div class="heading">
              <h2 id="linked-title">Where and when</h2>
              {data.streams.length > 1 && (
                <Streams names={data.streams.map((one) => one.name)} shown={shown.name} choose={choose} />
              )}
            </div>
            <Tracks key={shown.name} data={data} stream={shown} accusing={accusing} theme={theme} focus={focus} />
          </section>
        )}
        <EventList events={data.events} />
        <RunFacts data={data} />
      </main>
      <footer>
        Drawn by Surefoot from the record of {data.run.name}. This page holds all of its
        data and asks nothing of any network.
      </footer>
    </>
  );
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
