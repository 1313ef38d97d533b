// What is wrong, where, since when, why we think so, what to do: diagnoses in.
import { useState } from "preact/hooks";
import type { Diagnosis, Judged, PageData, Prescription } from "../data";
import { percent, step } from "../format";
import { advice, certainty, change, place, quantityWords, sentence, severityOf, steps } from "../words";
import { EvidenceTable } from "./EvidenceTable";
import { SeverityIcon } from "./Icons";

interface Props {
  data: PageData;
  /** Shows a diagnosis' layer and onset in the charts. */
  show?: (diagnosis: Diagnosis) => void;
}

export function Verdict({ data, show }: Props) {
  const [first, ...others] = data.diagnoses;
  return (
    <section class="verdict" aria-label="Verdict" data-view="verdict">
      {first ? <Case diagnosis={first} judged={data.judged} show={show} /> : <NoCase data={data} />}
      {others.length > 0 && (
        <div class="others">
          <h3>{others.length === 1 ? "One more finding" : `${others.length} more findings`}</h3>
          {others.map((diagnosis, index) => <Other key={index} diagnosis={diagnosis} show={show} />)}
        </div>
      )}
    </section>
  );
}

/** Nothing wrong, nothing known yet, or nothing that could be known. */
function NoCase({ data }: { data: PageData }) {
  const { judged, run } = data;
  const looked = data.looked_at.map(quantityWords);
  if (judged.state === "pending" || judged.state === "failed") {
    const failed = judged.state === "failed";
    return (
      <article class={`case ${failed ? "warning" : "info"}`}>
        <header>
          <SeverityIcon kind={failed ? "warning" : "info"} />
          <div>
            <h2>{failed ? "This run could not be examined" : "Being examined …"}</h2>
            <p class="about">{judged.text || (failed ? "The charts below show what was recorded." : "The verdict appears here as soon as it is made.")}</p>
          </div>
        </header>
      </article>
    );
  }
  const soFar = judged.state === "so_far";
  return (
    <article class="case healthy">
      <header>
        <SeverityIcon kind="healthy" />
        <div>
          <h2>{soFar ? "Nothing wrong so far" : "Nothing wrong found"} in {steps(judged.steps ?? run.steps)}</h2>
          {looked.length > 0 && <p class="about">Looked at {looked.join(", ")}.</p>}
          <HowFar judged={judged} run={soFar ? judged.steps ?? run.steps : run.steps} />
        </div>
      </header>
    </article>
  );
}

/** Said only where the diagnosis did not see the whole run. */
function HowFar({ judged, run }: { judged: Judged; run: number }) {
  const texts = [
    judged.state === "so_far" && judged.steps !== null && judged.steps !== run ? `So far, ${steps(judged.steps)} looked at.` : "",
    judged.state === "so_far" && judged.steps === run ? "The run goes on, and so does the diagnosis." : "",
    judged.state === "pending" ? "Being examined again …" : "",
    judged.state === "failed" ? "The last examination failed." : "",
    judged.state === "final" && judged.steps !== null && judged.steps < run ? `${steps(judged.steps)} of ${step(run)} looked at.` : "",
    judged.text,
  ].filter(Boolean);
  return texts.length ? <p class="how-far">{texts.join(" ")}</p> : null;
}

function Headline({ diagnosis }: { diagnosis: Diagnosis }) {
  return (
    <>
      {sentence(diagnosis.cause)} <span class="where">in{" "}
        {diagnosis.layer === "run" ? "the whole run" : <code>{diagnosis.layer}</code>}
      </span> <span class="since">since step {step(diagnosis.onset)}</span>
    </>
  );
}

function Case({ diagnosis, judged, show }: { diagnosis: Diagnosis; judged: Judged; show: Props["show"] }) {
  const severity = severityOf(diagnosis);
  return (
    <article class={`case ${severity}`}>
      <header>
        <SeverityIcon kind={severity} />
        <div>
          <h2><Headline diagnosis={diagnosis} /></h2>
          <p class="about">{diagnosis.about}</p>
          {diagnosis.told_apart ? <p class="about">Told apart: {diagnosis.told_apart}</p> : null}
          <Confidence diagnosis={diagnosis} severity={severity}>
            <Show diagnosis={diagnosis} show={show} />
          </Confidence>
          <HowFar judged={judged} run={judged.steps ?? 0} />
        </div>
      </header>
      <Body diagnosis={diagnosis} />
    </article>
  );
}

function Show({ diagnosis, show }: { diagnosis: Diagnosis; show: Props["show"] }) {
  if (!show) return null;
  return <button type="button" class="plain" onClick={() => show(diagnosis)}>Show in the charts</button>;
}

interface ConfidenceProps {
  diagnosis: Diagnosis;
  severity: string;
  children?: preact.ComponentChildren;
}

function Confidence({ diagnosis, severity, children }: ConfidenceProps) {
  return (
    <p class="confidence">
      <b class={`tag ${severity}`}>{severity}</b>
      <meter min={0} max={1} value={diagnosis.confidence} aria-label="confidence" />
      <span>confidence {percent(diagnosis.confidence)}, {certainty(diagnosis)}</span>
      {children}
    </p>
  );
}

function Body({ diagnosis }: { diagnosis: Diagnosis }) {
  return (
    <div class="body">
      <div class="why">
        <h3>What was seen</h3>
        {diagnosis.findings.map((finding, index) => <EvidenceTable key={index} finding={finding} />)}
      </div>
      <div class="do">
        <h3>What to do</h3>
        {diagnosis.prescriptions.length ? (
          <ol class="remedies">
            {diagnosis.prescriptions.map((one, index) => <Remedy key={index} one={one} />)}
          </ol>
        ) : (
          <p class="none">No remedy is known for this cause in {place(diagnosis.layer)}.</p>
        )}
      </div>
    </div>
  );
}

function Remedy({ one }: { one: Prescription }) {
  const changes = one.changes.map(change);
  return (
    <li>
      <b>{sentence(one.remedy)}</b>
      <p>{advice(one)}</p>
      {changes.length > 0 && <p class="changes">{changes.map((text, at) => <code key={at}>{text}</code>)}</p>}
      {one.expect && <p class="expect"><span>Expect</span> {one.expect}</p>}
      {one.source && <p class="source">{one.source}</p>}
    </li>
  );
}

function Other({ diagnosis, show }: { diagnosis: Diagnosis; show: Props["show"] }) {
  const [open, setOpen] = useState(false);
  const severity = severityOf(diagnosis);
  return (
    <details class={`other ${severity}`} open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        <SeverityIcon kind={severity} />
        <span class="line"><Headline diagnosis={diagnosis} /></span>
        <span class="share">{percent(diagnosis.confidence)}{diagnosis.confirmed ? "" : ", unconfirmed"}</span>
      </summary>
      <p class="about">{diagnosis.about} <Show diagnosis={diagnosis} show={show} /></p>
      <Body diagnosis={diagnosis} />
    </details>
  );
}
