// Which line is which: a comparison and the list of runs in, names with values out.
import { lastOf, strokeOf } from "../compare";
import type { Comparison, RunLine } from "../data";
import { number } from "../format";
import { hashOf } from "../route";
import { verdictText } from "../runs";
import { palette, type Theme } from "../theme";
import { SeverityIcon } from "./Icons";

interface Props {
  compared: Comparison;
  runs: RunLine[];
  theme: Theme;
  lit: number | null;
  light: (line: number | null) => void;
  pinned: number | null;
  pin: (line: number | null) => void;
}

/** By the last value, the smallest first; lines without one at the end. */
export function CompareLegend({ compared, runs, lit, light, pinned, pin }: Props) {
  const colours = palette().lines;
  const told = new Map(runs.map((line) => [line.name, line]));
  const order = compared.lines
    .map((line, at) => ({ line, at, last: lastOf(line) }))
    .sort((a, b) => (a.last ?? Infinity) - (b.last ?? Infinity) || a.at - b.at);
  return (
    <ol class="legend-list" aria-label="Runs by their last value" onPointerLeave={() => light(null)}>
      {order.map(({ line, at, last }) => (
        <li key={`${line.run} ${line.label}`} class={lit === at ? "lit" : ""} onPointerEnter={() => light(at)}>
          <button
            type="button" aria-pressed={pinned === at} onClick={() => pin(pinned === at ? null : at)}
            onFocus={() => light(at)} onBlur={() => light(null)}
            aria-label={`Bring out ${line.label}`}
          >
            <Stroke {...strokeOf(at, colours)} />
          </button>
          <a href={hashOf({ view: "run", name: line.run })}>{line.label}</a>
          <b>{number(last)}</b>
          <Judgement line={told.get(line.run)} />
        </li>
      ))}
    </ol>
  );
}

function Stroke({ colour, dash }: { colour: string; dash: number[] }) {
  return (
    <svg width="34" height="10" viewBox="0 0 34 10" aria-hidden="true">
      <line x1="1" x2="33" y1="5" y2="5" stroke={colour} stroke-width="2.4" stroke-dasharray={dash.join(" ")} />
    </svg>
  );
}

function Judgement({ line }: { line: RunLine | undefined }) {
  if (!line) return <span />;
  const kind = line.verdict?.severity ?? "healthy";
  const known = line.verdict !== null || line.judged.state === "final" || line.judged.state === "so_far";
  return (
    <span class={`case ${kind}`} title={verdictText(line)}>
      {known && <SeverityIcon kind={kind} />}
      <span>{verdictText(line)}</span>
    </span>
  );
}
