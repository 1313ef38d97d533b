// Several runs side by side: their names and a quantity in, one chart and its legend out.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { extentOf, positive, wide } from "../compare";
import type { Comparison, RunLine } from "../data";
import type { Range } from "../link";
import { hashOf } from "../route";
import { quantityWords, sentence } from "../words";
import type { Place } from "./App";
import { CompareChart } from "./CompareChart";
import { CompareLegend } from "./CompareLegend";
import { Masthead } from "./Masthead";
import { Notice, TroubleView } from "./Trouble";
import { useRuns } from "./useRuns";

const POINTS = 500;
const MOSTLY = 0.9; // so many values must be positive for a logarithmic scale unasked
const REFRESH_MS = 2_000;

interface Props {
  runs: string[];
  quantity: string;
  place: Place;
}

export function ComparisonView({ runs, quantity, place }: Props) {
  const listed = useRuns(place.source);
  const [compared, trouble] = useComparison(place, runs, quantity, listed.runs);
  const heading = runs.length === 1 ? "1 run" : `${runs.length} runs compared`;
  if (!compared && trouble) return <TroubleView heading={heading} error={trouble} place={place} />;
  return (
    <>
      <Masthead heading={heading} place={place} connection={listed.connection}>
        <p><a href="#/">All runs</a></p>
      </Masthead>
      {trouble !== null && <Notice error={trouble} />}
      <main>
        {compared
          ? <Compared compared={compared} runs={runs} lines={listed.runs ?? []} place={place} />
          : <p class="waiting" aria-busy="true">Reading the records …</p>}
      </main>
    </>
  );
}

/** Asked for at once, and again while one of the runs gets longer. */
function useComparison(
  place: Place, runs: string[], quantity: string, lines: RunLine[] | null,
): [Comparison | null, unknown] {
  const [compared, set] = useState<Comparison | null>(null);
  const [trouble, trip] = useState<unknown>(null);
  const { source } = place;
  const asked = JSON.stringify([runs, quantity]);
  const round = useRounds(lines?.filter((line) => runs.includes(line.name)).map((line) => line.steps).join() ?? "");
  useEffect(() => {
    let late = false;
    source.compare(runs, quantity, POINTS).then(
      (answer) => { if (!late) { set(answer); trip(null); } },
      (error: unknown) => { if (!late) trip(error); },
    );
    return () => { late = true; };
  }, [source, asked, round]);
  return [compared, trouble];
}

/** A number that grows after each change of a mark, but not more often than each two seconds. */
function useRounds(mark: string): number {
  const [round, next] = useState(0);
  const seen = useRef({ mark: "", now: "", timer: 0 }).current;
  seen.now = mark;
  useEffect(() => {
    if (!seen.mark) seen.mark = mark;
    if (mark === seen.mark || seen.timer) return;
    seen.timer = window.setTimeout(() => {
      seen.timer = 0;
      seen.mark = seen.now;
      next((before) => before + 1);
    }, REFRESH_MS);
  }, [mark, round, seen]);
  useEffect(() => () => window.clearTimeout(seen.timer), [seen]);
  return round;
}

interface ComparedProps {
  compared: Comparison;
  runs: string[];
  lines: RunLine[];
  place: Place;
}

function Compared({ compared, runs, lines, place }: ComparedProps) {
  const [asked, ask] = useState<boolean | null>(null);
  const [lit, light] = useState<number | null>(null);
  const [pinned, pin] = useState<number | null>(null);
  const whole = useMemo(() => extentOf(compared.lines), [compared]);
  const [part, zoom] = useState<Range | null>(null);
  const shown = lit ?? pinned;
  const share = useMemo(() => positive(compared.lines), [compared]);
  const log = share > 0 && (asked ?? (share > MOSTLY && wide(compared.lines)));
  const choose = (quantity: string): void => { location.hash = hashOf({ view: "compare", runs, quantity }); };
  return (
    <section data-view="comparison" aria-label={`${compared.title} of ${runs.length} runs`}>
      <div class="finder">
        <label class="chooser">
          Quantity{" "}
          <select value={compared.quantity} onChange={(event) => choose(event.currentTarget.value)}>
            {compared.quantities.map((name) => <option key={name} value={name}>{sentence(quantityWords(name))}</option>)}
          </select>
        </label>
        <label class="chooser">
          <input
            type="checkbox" checked={log} disabled={share === 0}
            onChange={(event) => ask(event.currentTarget.checked)}
          />{" "}
          logarithmic{log && share < 1 ? " (values of 0 and below are left out)" : ""}
        </label>
        {shown !== null && <p class="count">{compared.lines[shown]?.label}</p>}
        {part
          ? <button type="button" class="plain" onClick={() => zoom(null)}>Show all steps</button>
          : <span class="hint">Drag across the chart to zoom.</span>}
      </div>
      {compared.lines.length > 0 ? (
        <>
          <CompareChart
            compared={compared} log={log} theme={place.theme} lit={shown} light={light}
            range={part ?? whole} zoom={zoom}
          />
          <CompareLegend
            compared={compared} runs={lines} theme={place.theme} lit={shown} light={light} pinned={pinned} pin={pin}
          />
        </>
      ) : <p class="empty">None of these runs holds {quantityWords(compared.quantity)}.</p>}
      {compared.troubles.map((one) => (
        <p key={one.run} class="note"><code>{one.run}</code>: {one.text}</p>
      ))}
    </section>
  );
}
