// What is wrong, where, since when, why we think so, what to do: diagnoses in.
import { useState } from "preact/hooks";
import type { Diagnosis, PageData, Prescription } from "../data";
import { percent, step } from "../format";
import { advice, certainty, change, place, quantityWords, sentence, severityOf, steps } from "../words";
import { EvidenceTable } from "./EvidenceTable";
import { SeverityIcon } from "./Icons";

export function Verdict({ data }: { data: PageData }) {
  const [first, ...others] = data.diagnoses;
  return (
    <section class="verdict" aria-label="Verdict" data-view="verdict">
      {first ? <Case diagnosis={first} /> : <Healthy data={data} />}
      {others.length > 0 && (
        <div class="others">
          <h3>{others.length === 1 ? "One more finding" : `${others.length} more findings`}</h3>
          {others.map((diagnosis, index) => <Other key={index} diagnosis={diagnosis} />)}
        </div>
      )}
    </section>
  );
}

function Healthy({ data }: { data: PageData }) {
  const looked = data.looked_at.map(quantityWords);
  return (
    <article class="case healthy">
      <header>
        <SeverityIcon kind="healthy" />
        <div>
          <h2>Nothing wrong found in {steps(data.run.steps)}</h2>
          {looked.length > 0 && <p class="about">Looked at {looked.join(", ")}.</p>}
        </div>
      </header>
    </article>
  );
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

function Case({ diagnosis }: { diagnosis: Diagnosis }) {
  const severity = severityOf(diagnosis);
  return (
    <article class={`case ${severity}`}>
      <header>
        <SeverityIcon kind={severity} />
        <div>
          <h2><Headline diagnosis={diagnosis} /></h2>
          <p class="about">{diagnosis.about}</p>
          {diagnosis.told_apart ? <p class="about">Told apart: {diagnosis.told_apart}</p> : null}
          <Confidence diagnosis={diagnosis} severity={severity} />
        </div>
      </header>
      <Body diagnosis={diagnosis} />
    </article>
  );
}

function Confidence({ diagnosis, severity }: { diagnosis: Diagnosis; severity: string }) {
  return (
    <p class="confidence">
      <b class={`tag ${severity}`}>{severity}</b>
      <meter min={0} max={1} value={diagnosis.confidence} aria-label="confidence" />
      <span>confidence {percent(diagnosis.confidence)}, {certainty(diagnosis)}</span>
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

function Other({ diagnosis }: { diagnosis: Diagnosis }) {
  const [open, setOpen] = useState(false);
  const severity = severityOf(diagnosis);
  return (
    <details class={`other ${severity}`} open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        <SeverityIcon kind={severity} />
        <span class="line"><Headline diagnosis={diagnosis} /></span>
        <span class="share">{percent(diagnosis.confidence)}{diagnosis.confirmed ? "" : ", unconfirmed"}</span>
      </summary>
      <p class="about">{diagnosis.about}</p>
      <Body diagnosis={diagnosis} />
    </details>
  );
}
