// Incidents that were replayed: what each change did in, a table of verdicts out.
import type { BranchVerdict, Replayed } from "../data";
import { number, step } from "../format";
import { sentence, spaced } from "../words";

const NOT_TRIED = "does not apply";

export function Replays({ replays }: { replays: Replayed[] }) {
  return (
    <section aria-labelledby="replays-title" data-view="replays">
      <div class="heading">
        <h2 id="replays-title">The same moments again</h2>
        <p class="hint">Each row replays the recorded steps with one thing changed.</p>
      </div>
      {[...replays].reverse().map((one, index) => <Replay key={index} told={one} />)}
    </section>
  );
}

function Replay({ told }: { told: Replayed }) {
  const tried = told.branches.filter((one) => one.verdict !== NOT_TRIED);
  const others = told.branches.filter((one) => one.verdict === NOT_TRIED);
  return (
    <article class="replay">
      <h3>{headline(told)}</h3>
      <p class="about">{where(told)} {fidelity(told)}</p>
      {told.evidence.length > 0 && <ul class="grounds">{told.evidence.map((one) => <li key={one}>{one}</li>)}</ul>}
      <div class="branches">
        <table>
          <thead>
            <tr>
              <th scope="col">Change</th><th scope="col">Verdict</th><th scope="col">Loss, step by step</th>
              <th scope="col" class="number">Last loss</th><th scope="col" class="number">{sentence(told.set_aside)}</th>
            </tr>
          </thead>
          <tbody>{tried.map((one, index) => <Branch key={index} one={one} told={told} />)}</tbody>
        </table>
      </div>
      {others.length > 0 && (
        <details class="not-tried">
          <summary>{others.length === 1 ? "1 change does" : `${others.length} changes do`} not apply here</summary>
          <ul>{others.map((one, index) => <li key={index}><b>{sentence(one.prescription.remedy)}</b>: {one.detail}</li>)}</ul>
        </details>
      )}
      {told.notes.map((note) => <p key={note} class="source">{note}</p>)}
      <p class="source">{told.incident}, replayed in {number(told.seconds, 2)} s</p>
    </article>
  );
}

/** What the replay says, in a sentence. */
export function headline(told: Replayed): string {
  const layers = told.layers.length ? ` in ${told.layers.slice(0, 3).join(", ")}` : "";
  const cause = told.cause ? `${sentence(told.cause)}${layers}` : "";
  switch (told.result) {
    case "prevented":
      return [cause, told.remedy && `prevented most cheaply by: ${spaced(told.remedy.remedy)}`]
        .filter(Boolean).join(" — ");
    case "nothing to prevent":
      return "Nothing to prevent: these updates did the loss no harm";
    case "not reproduced":
      return cause ? `${cause} — the harm is not in what was recorded` : "The harm is not in what was recorded";
    default:
      return cause ? `${cause}. No remedy helped.` : "No remedy helped.";
  }
}

function where(told: Replayed): string {
  return `Steps ${step(told.first)} to ${step(told.last)}, branches part at step ${step(told.parting)}, harm from step ${step(told.onset)}.`;
}

function fidelity(told: Replayed): string {
  if (told.departs !== null) return `The unchanged replay departs from the recorded losses at step ${step(told.departs)}.`;
  if (told.noise === 0) return "The unchanged replay gives the recorded losses, bit for bit.";
  return `The unchanged replay gives the recorded losses within ${number(told.noise, 2)} of each: the noise floor of all verdicts.`;
}

const TONES: Record<string, string> = { prevented: "good", worse: "bad", lessened: "good", delayed: "fair" };

function Branch({ one, told }: { one: BranchVerdict; told: Replayed }) {
  return (
    <tr class={one.prescription.remedy === told.remedy?.remedy ? "chosen" : ""}>
      <th scope="row">
        {sentence(one.prescription.remedy)}
        {one.detail && <span class="source">{one.detail}</span>}
      </th>
      <td><span class={`word ${TONES[one.verdict] ?? "plain"}`}>{SIGNS[one.verdict] ?? ""}{one.verdict}</span></td>
      <td>{one.losses.length > 1 && <Course losses={one.losses} told={told} />}</td>
      <td class="number">{number(one.loss)}</td>
      <td class="number">{number(one.held_out)}</td>
    </tr>
  );
}

const SIGNS: Record<string, string> = { prevented: "✓ ", worse: "✗ ", "no effect": "= ", delayed: "… ", lessened: "↓ " };

const WIDTH = 150;
const HEIGHT = 28;

/** The losses of a branch over those that were recorded, on one scale for all rows. */
function Course({ losses, told }: { losses: (number | string)[]; told: Replayed }) {
  const [low, high] = scaleOf(told);
  const line = (values: (number | string)[], from: number): string => {
    let pen = "M";
    return values.map((value, at) => {
      if (typeof value !== "number") { pen = "M"; return ""; }
      const share = Math.min(Math.max((Math.log(Math.max(value, 1e-12)) - low) / (high - low || 1), 0), 1);
      const x = ((from + at - told.first) / Math.max(told.last - told.first, 1)) * (WIDTH - 4) + 2;
      const point = `${pen}${x.toFixed(1)} ${(HEIGHT - 3 - share * (HEIGHT - 6)).toFixed(1)}`;
      pen = "L";
      return point;
    }).join("");
  };
  const begins = told.last - losses.length + 1 >= told.parting ? told.parting : told.first;
  return (
    <svg class="course" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} width={WIDTH} height={HEIGHT} aria-hidden="true">
      <path class="recorded" d={line(told.recorded, told.first)} />
      <path class="branch" d={line(losses, begins)} />
    </svg>
  );
}

/** Logarithms of the lowest and the highest recorded or replayed loss, spikes cut. */
function scaleOf(told: Replayed): [number, number] {
  const all = [...told.recorded, ...told.branches.flatMap((one) => one.losses)];
  const logs = all.filter((value): value is number => typeof value === "number" && value > 0).map(Math.log).sort((a, b) => a - b);
  if (!logs.length) return [0, 1];
  const low = logs[0] ?? 0;
  return [low, Math.min(logs.at(-1) ?? 1, low + Math.log(1e4))];
}
