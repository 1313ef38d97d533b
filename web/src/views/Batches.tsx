// Steps whose batch stands out: reasons in, a table whose rows lead to the charts out.
import { useState } from "preact/hooks";
import type { Outstanding, Reason } from "../data";
import { number, step } from "../format";
import { quantityWords } from "../words";

interface Props {
  batches: Outstanding[];
  /** Shows that step in the charts. */
  show: (step: number) => void;
}

const FIRST = 8;

export function Batches({ batches, show }: Props) {
  const [all, showAll] = useState(false);
  if (!batches.length) return null;
  const shown = all ? batches : batches.slice(0, FIRST);
  return (
    <div class="batches" data-view="batches">
      <table>
        <thead>
          <tr><th scope="col">Step</th><th scope="col">What stands out</th><th scope="col" class="number">Value</th><th scope="col" class="number">Usual</th><th scope="col">How far</th></tr>
        </thead>
        <tbody>
          {shown.flatMap((batch) => batch.reasons.map((reason, at) => (
            <tr key={`${batch.step} ${at}`} class={at === 0 ? "first" : ""}>
              {at === 0 && (
                <th scope="row" rowSpan={batch.reasons.length}>
                  <button type="button" class="link" onClick={() => show(batch.step)} aria-label={`Show step ${step(batch.step)} in the charts`}>
                    {step(batch.step)}
                  </button>
                </th>
              )}
              <td>{quantityWords(reason.what)}</td>
              <td class="number"><b>{number(reason.value)}</b></td>
              <td class="number">{number(reason.usual)}</td>
              <td><Far reason={reason} /></td>
            </tr>
          )))}
        </tbody>
      </table>
      <p class="note">Usual is the median of the steps before; how far is told in robust standard deviations.</p>
      {batches.length > FIRST && (
        <button type="button" class="plain" onClick={() => showAll(!all)}>
          {all ? "Show fewer" : `Show all ${batches.length} steps`}
        </button>
      )}
    </div>
  );
}

const LONGEST = 3; // decades of deviations that the bar spans

function Far({ reason }: { reason: Reason }) {
  const { deviations } = reason;
  if (typeof deviations !== "number") return <span class="far">{number(deviations)}</span>;
  const share = Math.min(Math.log10(1 + Math.abs(deviations)) / LONGEST, 1);
  return (
    <span class="far">
      <i aria-hidden="true"><i style={{ width: `${100 * share}%` }} /></i>
      {number(Math.abs(deviations), 2)}σ {deviations < 0 ? "below" : "above"}
    </span>
  );
}
