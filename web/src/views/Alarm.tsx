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
          {found.map((diagnosis) => (
            <p key={`${diagnosis.cause} ${diagnosis.layer}`} class={`case ${severityOf(diagnosis)}`}>
              <SeverityIcon kind={severityOf(diagnosis)} />
              <span>
                New finding: <b>{sentence(diagnosis.cause).toLowerCase()}</b> in{" "}
                <code>{place(diagnosis.layer)}</code> since step {step(diagnosis.onset)}
              </span>
              <button type="button" class="plain" onClick={() => show(diagnosis)}>Show where</button>
            </p>
          ))}
          <button type="button" class="plain close" onClick={dismiss}>Close</button>
        </div>
      )}
    </div>
  );
}
