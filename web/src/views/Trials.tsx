// Remedies that were tried: verdicts in, paired pictures out.
import type { Verdict } from "../data";
import { number, signed } from "../format";
import { advice, sentence, spaced } from "../words";

export function Trials({ verdicts }: { verdicts: Verdict[] }) {
  return (
    <section class="trials" aria-labelledby="trials-title" data-view="trials">
      <div class="heading">
        <h2 id="trials-title">Remedies tried</h2>
        <p class="key">
          <i class="dot baseline" /> left alone <i class="dot treated" /> treated, same data order and seed
        </p>
      </div>
      <div class="trial-list">
        {verdicts.map((verdict, index) => <Trial key={index} verdict={verdict} />)}
      </div>
    </section>
  );
}

function Trial({ verdict }: { verdict: Verdict }) {
  const [low, high] = verdict.interval;
  const seeds = verdict.seeds.length;
  return (
    <article class={`trial ${verdict.held ? "held" : "not-held"}`}>
      <header>
        <h3>{sentence(verdict.prescription.remedy)}</h3>
        <span class="outcome">{verdict.held ? "✓ helped" : "✗ not shown to help"}</span>
      </header>
      <p class="about">{advice(verdict.prescription)}</p>
      <p class="effect">
        <b>{signed(verdict.effect)}</b> {spaced(verdict.metric)}
        <span>95 % interval {signed(low)} to {signed(high)}, {seeds} {seeds === 1 ? "seed" : "seeds"}</span>
      </p>
      <Pairs verdict={verdict} />
      <Interval verdict={verdict} />
    </article>
  );
}

function finite(values: (number | string)[]): number[] {
  return values.filter((value): value is number => typeof value === "number");
}

/** A span with a little air around it; a single value gets a span of its own. */
function span(values: number[]): [number, number] {
  const low = Math.min(...values);
  const high = Math.max(...values);
  const air = (high - low) * 0.08 || Math.abs(high) * 0.1 || 1;
  return [low - air, high + air];
}

const WIDTH = 320;
const LEFT = 52;

function Pairs({ verdict }: { verdict: Verdict }) {
  const known = finite([...verdict.baseline, ...verdict.treated]);
  if (!known.length) return null;
  const [low, high] = span(known);
  const at = (value: number): number => LEFT + ((value - low) / (high - low)) * (WIDTH - LEFT - 8);
  const bottom = 18 * verdict.seeds.length + 6;
  return (
    <svg class="pairs" viewBox={`0 0 ${WIDTH} ${bottom + 16}`} role="img" aria-label={spoken(verdict)}>
      {verdict.seeds.map((seed, row) => {
        const before = verdict.baseline[row];
        const after = verdict.treated[row];
        const y = 18 * row + 10;
        return (
          <g key={row}>
            <text class="seed" x="0" y={y + 3.5}>seed {seed}</text>
            <line class="rail" x1={LEFT} x2={WIDTH - 8} y1={y} y2={y} />
            {typeof before === "number" && typeof after === "number" && (
              <line class="move" x1={at(before)} x2={at(after)} y1={y} y2={y} />
            )}
            {typeof before === "number" && <circle class="baseline" cx={at(before)} cy={y} r="4" />}
            {typeof after === "number" && <rect class="treated" x={at(after) - 4} y={y - 4} width="8" height="8" />}
          </g>
        );
      })}
      <text class="tick" x={LEFT} y={bottom + 10}>{number(low)}</text>
      <text class="tick end" x={WIDTH - 8} y={bottom + 10}>{number(high)}</text>
    </svg>
  );
}

function spoken(verdict: Verdict): string {
  return verdict.seeds
    .map((seed, row) => {
      const before = number(verdict.baseline[row]);
      return `seed ${seed}: ${before} left alone, ${number(verdict.treated[row])} treated`;
    })
    .join("; ");
}

/** The interval of the effect against zero, which is what "helped" is about. */
function Interval({ verdict }: { verdict: Verdict }) {
  const ends = finite([...verdict.interval, verdict.effect]);
  if (ends.length < 3) return null;
  const [low, high] = span([...ends, 0]);
  const at = (value: number): number => LEFT + ((value - low) / (high - low)) * (WIDTH - LEFT - 8);
  const [from = 0, to = 0, effect = 0] = ends;
  return (
    <svg class="pairs interval" viewBox={`0 0 ${WIDTH} 34`} aria-hidden="true">
      <text class="seed" x="0" y="15.5">effect</text>
      <line class="rail" x1={LEFT} x2={WIDTH - 8} y1="12" y2="12" />
      <line class="zero" x1={at(0)} x2={at(0)} y1="3" y2="21" />
      <line class="whisker" x1={at(from)} x2={at(to)} y1="12" y2="12" />
      <circle class="effect" cx={at(effect)} cy="12" r="4.5" />
      <text class="tick middle" x={at(0)} y="31">no effect</text>
    </svg>
  );
}
