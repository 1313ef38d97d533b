// A rescue: what was changed and what it bought, beside the run that was left alone.
import type { RescueAttempt, Rescued } from "../data";
import { number, percent } from "../format";
import { spaced } from "../words";

export function Rescue({ told }: { told: Rescued }) {
  const [alone, ...others] = told.attempts;
  if (!alone) return null;
  const chosen = others.filter((one) => one.chosen);
  const rest = others.filter((one) => !one.chosen);
  return (
    <section aria-labelledby="rescue-title" data-view="rescue">
      <div class="heading">
        <h2 id="rescue-title">Rescue</h2>
        <p class="hint">Each row trains the script anew from the same seed. Dashed: the run left alone.</p>
      </div>
      <article class="replay">
        <h3>{told.headline}</h3>
        <div class="branches">
          <table>
            <thead>
              <tr>
                <th scope="col">Changed</th><th scope="col">Training loss</th><th scope="col">Length</th>
                <th scope="col" class="number">{spaced(told.metric)}</th>
              </tr>
            </thead>
            <tbody>
              {[alone, ...chosen, ...rest].map((one, index) => <Row key={index} one={one} told={told} alone={alone} />)}
            </tbody>
          </table>
        </div>
        {others.length > 0 && <p class="source">{number(told.spent, 2)} × the run itself was spent on attempts.</p>}
      </article>
    </section>
  );
}

interface RowProps {
  one: RescueAttempt;
  told: Rescued;
  alone: RescueAttempt;
}

function Row({ one, told, alone }: RowProps) {
  return (
    <tr class={one.chosen ? "chosen" : ""}>
      <th scope="row">
        {one === alone ? "Left alone" : one.changes.map((text) => <span key={text}>{text}<br /></span>)}
        {one.detail && <span class="source">{one.detail}</span>}
      </th>
      <td>{one.losses.length > 1 && <Course one={one} told={told} alone={alone} />}</td>
      <td>{one.share >= 0.995 ? "whole" : percent(one.share)}</td>
      <td class="number">{typeof one.value === "number" ? number(one.value) : "–"}</td>
    </tr>
  );
}

const WIDTH = 150;
const HEIGHT = 28;

function Course({ one, told, alone }: RowProps) {
  const [low, high] = scaleOf(told.attempts);
  const line = (of: RescueAttempt): string => {
    let pen = "M";
    return of.losses.map((value, at) => {
      if (typeof value !== "number") { pen = "M"; return ""; }
      const share = Math.min(Math.max((Math.log(Math.max(value, 1e-12)) - low) / (high - low || 1), 0), 1);
      const x = (at / Math.max(of.losses.length - 1, 1)) * Math.min(of.share, 1) * (WIDTH - 4) + 2;
      const point = `${pen}${x.toFixed(1)} ${(HEIGHT - 3 - share * (HEIGHT - 6)).toFixed(1)}`;
      pen = "L";
      return point;
    }).join("");
  };
  return (
    <svg class="course" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} width={WIDTH} height={HEIGHT} aria-hidden="true">
      <path class="recorded" d={line(alone)} />
      {one !== alone && <path class="branch" d={line(one)} />}
    </svg>
  );
}

/** Logarithms of the lowest and the highest loss of all attempts, spikes cut. */
function scaleOf(attempts: RescueAttempt[]): [number, number] {
  const all = attempts.flatMap((one) => one.losses);
  const logs = all.filter((value): value is number => typeof value === "number" && value > 0).map(Math.log).sort((a, b) => a - b);
  if (!logs.length) return [0, 1];
  const low = logs[0] ?? 0;
  return [low, Math.min(logs.at(-1) ?? 1, low + Math.log(1e4))];
}
