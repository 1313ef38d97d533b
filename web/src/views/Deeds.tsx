// What was done to a run: its events in, a table of deeds out.
import { useMemo, useState } from "preact/hooks";
import type { RunEvent } from "../data";
import { type Deed, deeds } from "../deeds";
import { step } from "../format";

interface Props {
  events: RunEvent[];
  /** Shows that step in the charts. */
  show: (step: number) => void;
}

const FIRST = 12;
const MORE = 100;

export function Deeds({ events, show }: Props) {
  const rows = useMemo(() => deeds(events), [events]);
  const [most, open] = useState(FIRST);
  if (!rows.length) return null;
  const taken = rows.some((row) => row.undone !== null);
  return (
    <section aria-labelledby="deeds-title" data-view="deeds">
      <div class="heading">
        <h2 id="deeds-title">What was done</h2>
        <p class="hint">{summary(rows)}</p>
      </div>
      <div class="deeds">
        <table>
          <thead>
            <tr>
              <th scope="col" class="number">Step</th><th scope="col">What</th>
              <th scope="col">Before → after</th><th scope="col">Why</th>
              {taken && <th scope="col">Undone</th>}
            </tr>
          </thead>
          <tbody>
            {rows.slice(0, most).map((row, index) => <Row key={index} row={row} taken={taken} show={show} />)}
          </tbody>
        </table>
        {rows.length > most && (
          <button type="button" class="plain" onClick={() => open(most + MORE)}>
            Show {Math.min(MORE, rows.length - most)} of {step(rows.length - most)} more
          </button>
        )}
      </div>
    </section>
  );
}

/** Counts, so that advice is not taken for action. */
export function summary(rows: Deed[]): string {
  const count = (kind: Deed["kind"]): number =>
    rows.reduce((sum, row) => sum + (row.kind === kind ? row.count : 0), 0);
  const told: [number, string, string][] = [
    [count("done"), "change", "changes"], [count("undone"), "taken back", "taken back"],
    [count("advised"), "advice", "advices"], [count("kept"), "incident kept", "incidents kept"],
  ];
  const words = told.filter(([many]) => many > 0).map(([many, one, several]) => `${step(many)} ${many === 1 ? one : several}`);
  return count("done") ? words.join(", ") : ["nothing was changed", ...words].join(", ");
}

function Row({ row, taken, show }: { row: Deed; taken: boolean; show: Props["show"] }) {
  const when = row.last > row.step ? `${step(row.step)}–${step(row.last)}` : step(row.step);
  return (
    <tr class={`deed ${row.kind}`}>
      <td class="number" data-label="Step">
        <button type="button" class="link" onClick={() => show(row.step)} aria-label={`Show step ${when} in the charts`}>{when}</button>
      </td>
      <th scope="row">{row.what}{row.count > 1 && <span class="soft"> × {step(row.count)}</span>}</th>
      <td data-label="Before → after">
        {row.before && <><span class="before">{row.before}</span> <span aria-label="became">→</span> </>}
        {row.after && <b>{row.after}</b>}
      </td>
      <td class="why" data-label="Why">{row.why}</td>
      {taken && <td data-label="Undone">{row.undone === null ? "" : `at step ${step(row.undone)}`}</td>}
    </tr>
  );
}
