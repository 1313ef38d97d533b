// What was found while one looked on: new diagnoses in, a spoken banner out.
import { useEffect } from "preact/hooks";
import type { Diagnosis } from "../data";
import { step } from "../format";
import { place, sentence, severityOf } from "../words";
import { SeverityIcon } from "./Icons";

interface Props {
  found: Diagnosis[];
  run: string;
  show: (diagnosis: Diagnosis) => void;
  dismiss: () => void;
}

const MOST = 3; // more would cover what they are about

export function Alarm({ found, run, show, dismiss }: Props) {
  useEffect(() => {
    if (!found.length) return undefined;
    const title = document.title;
    document.title = `▲ ${found.length === 1 ? "New finding" : `${found.length} new findings`} · ${run}`;
    return () => { document.title = title; };
  }, [found.length, run]);
  return (
    <div role="alert" data-view="alarm">
      {found.length > 0 && (
        <div class="alarms">
          <ul>
            {found.slice(0, MOST).map((diagnosis) => (
              <li key={`${diagnosis.cause} ${diagnosis.layer}`} class={`case ${severityOf(diagnosis)}`}>
                <SeverityIcon kind={severityOf(diagnosis)} />
                <span>
                  New finding: <b>{sentence(diagnosis.cause)}</b> in{" "}
                  <code>{place(diagnosis.layer)}</code> since step {step(diagnosis.onset)}
                </span>
                <button type="button" class="plain" onClick={() => show(diagnosis)}>Show where</button>
              </li>
            ))}
            {found.length > MOST && <li class="hint">and {found.length - MOST} more, listed below</li>}
          </ul>
          <button type="button" class="quiet" onClick={dismiss} aria-label="Close these messages">
            <svg viewBox="0 0 24 24" class="glyph" aria-hidden="true"><path d="M6 6l12 12M18 6L6 18" /></svg>
          </button>
        </div>
      )}
    </div>
  );
}
