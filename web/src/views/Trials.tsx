// Remedies that were tried: verdicts in, paired pictures out.
import { useRef } from "preact/hooks";
import type { Verdict } from "../data";
import { number, signed } from "../format";
import { advice, sentence, spaced } from "../words";
import { useWidth } from "./useWidth";

export function Trials({ verdicts }: { verdicts: Verdict[] }) {
  const ranked = sorted(verdicts);
  return (
    <section class="trials" aria-labelledby="trials-title" data-view="trials">
      <div class="heading">
        <h2 id="trials-title">Remedies tried</h2>
        <p class="key">
          <i class="dot baseline" /> left alone <i class="dot treated" /> treated, same data order and seed
        </p>
      </div>
      {!ranked.some((verdict) => verdict.held) && (
        <p class="no-help"><b>No remedy helped.</b> {nothing(ranked.length)}</p>
      )}
      {ranked.length > 1 && <Summary verdicts={ranked} />}
      <div class="trial-list">
        {ranked.map((verdict, index) => <Trial key={index} verdict={verdict} />)}
      </div>
    </section>
  );
}

/** Those that helped first, and by how much. */
export function sorted(verdicts: Verdict[]): Verdict[] {
  const effect = (verdict: Verdict): number => (typeof verdict.effect === "number" ? verdict.effect : -Infinity);
  return [...verdicts].sort((a, b) => Number(b.held) - Number(a.held) || effect(b) - effect(a) || 0);
}

function nothing(count: number): string {
  const what = count === 1 ? "It was" : `All ${count} were`;
  return `${what} compared with runs left alone, on the same data and seeds, and no interval lies above zero.`;
}

/** All at a glance; more is better, whatever the metric. */
function Summary({ verdicts }: { verdicts: Verdict[] }) {
  return (
    <div class="tried">
      <table>
        <thead>
          <tr>
            <th scope="col">Remedy</th><th scope="col">Outcome</th><th scope="col">Metric</th>
            <th scope="col" class="number">Left alone</th><th scope="col" class="number">Treated</th>
            <th scope="col" class="number">Effect</th><th scope="col" class="number">95 % interval</th>
            <th scope="col" class="number">Seeds</th>
          </tr>
        </thead>
        <tbody>
          {verdicts.map((verdict, index) => (
            <tr key={index} class={verdict.held ? "held" : "not-held"}>
              <th scope="row">{sentence(verdict.prescription.remedy)}</th>
              <td><span class="outcome">{outcome(verdict)}</span></td>
              <td>{spaced(verdict.metric)}</td>
              <td class="number">{number(average(verdict.baseline))}</td>
              <td class="number">{number(average(verdict.treated))}</td>
              <td class="number"><b>{signed(verdict.effect)}</b></td>
              <td class="number">{signed(verdict.interval[0])} to {signed(verdict.interval[1])}</td>
              <td class="number">{verdict.seeds.length}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Mean of those that ended with a number; null where none did. */
function average(values: (number | string)[]): number | null {
  const known = finite(values);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}

function outcome(verdict: Verdict): string {
  return verdict.held ? "✓ helped" : "✗ not shown to help";
}

function Trial({ verdict }: { verdict: Verdict }) {
  const [low, high] = verdict.interval;
  const seeds = verdict.seeds.length;
  return (
    <article class={`trial ${verdict.held ? "held" : "not-held"}`}>
      <header>
        <h3>{sentence(verdict.prescription.remedy)}</h3>
        <span class="outcome">{outcome(verdict)}</span>
      </header>
      <p class="about">{advice(verdict.prescription)}</p>
      <p class="effect">
        <b>{signed(verdict.effect)}</b> {spaced(verdict.metric)}
        <span>95 % interval {signed(low)} to {signed(high)}, {seeds} {seeds === 1 ? "seed" : "seeds"}</span>
      </p>
      <Pictures verdict={verdict} />
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

const LEFT = 58;
const RIGHT = 10;

function Pictures({ verdict }: { verdict: Verdict }) {
  const box = useRef<HTMLDivElement>(null);
  const width = useWidth(box);
  return (
    <div ref={box}>
      {width > 100 && <Pairs verdict={verdict} width={width} />}
      {width > 100 && <Interval verdict={verdict} width={width} />}
    </div>
  );
}

interface PictureProps {
  verdict: Verdict;
  width: number;
}

function scaleOf(values: number[], width: number): { at: (value: number) => number; ticks: number[] } {
  const [low, high] = span(values);
  return {
    at: (value) => LEFT + ((value - low) / (high - low)) * (width - LEFT - RIGHT),
    ticks: roundNumbers(low, high, Math.max(3, Math.floor((width - LEFT) / 90))),
  };
}

/** Round numbers between two ends, about as many as asked for. */
export function roundNumbers(low: number, high: number, count: number): number[] {
  const rough = (high - low) / count;
  const ten = 10 ** Math.floor(Math.log10(rough));
  const gap = [1, 2, 5, 10].map((one) => one * ten).find((one) => one >= rough) ?? 10 * ten;
  const first = Math.ceil(low / gap);
  return Array.from({ length: Math.floor(high / gap) - first + 1 }, (_, index) => (first + index) * gap);
}

function Pairs({ verdict, width }: PictureProps) {
  const known = finite([...verdict.baseline, ...verdict.treated]);
  if (!known.length) return null;
  const { at, ticks } = scaleOf(known, width);
  const bottom = 20 * verdict.seeds.length + 4;
  return (
    <svg class="pairs" width={width} height={bottom + 20} role="img" aria-label={spoken(verdict)}>
      {ticks.map((tick) => (
        <g key={tick}>
          <line class="rail" x1={at(tick)} x2={at(tick)} y1="0" y2={bottom} />
          <text class="tick middle" x={at(tick)} y={bottom + 13}>{number(tick)}</text>
        </g>
      ))}
      {verdict.seeds.map((seed, row) => {
        const before = verdict.baseline[row];
        const after = verdict.treated[row];
        const y = 20 * row + 12;
        return (
          <g key={row}>
            <text class="seed" x="0" y={y + 4}>seed {seed}</text>
            {typeof before === "number" && typeof after === "number" && (
              <line class="move" x1={at(before)} x2={at(after)} y1={y} y2={y} />
            )}
            {typeof before === "number" && <circle class="baseline" cx={at(before)} cy={y} r="4" />}
            {typeof after === "number" && <rect class="treated" x={at(after) - 4} y={y - 4} width="8" height="8" />}
          </g>
        );
      })}
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
function Interval({ verdict, width }: PictureProps) {
  const ends = finite([...verdict.interval, verdict.effect]);
  if (ends.length < 3) return null;
  const { at } = scaleOf([...ends, 0], width);
  const [from = 0, to = 0, effect = 0] = ends;
  return (
    <svg class="pairs interval" width={width} height="40" aria-hidden="true">
      <text class="seed" x="0" y="16">effect</text>
      <line class="rail" x1={LEFT} x2={width - RIGHT} y1="12" y2="12" />
      <line class="zero" x1={at(0)} x2={at(0)} y1="3" y2="21" />
      <line class="whisker" x1={at(from)} x2={at(to)} y1="12" y2="12" />
      <circle class="effect" cx={at(effect)} cy="12" r="4.5" />
      <text class="tick middle" x={Math.max(at(0), LEFT + 22)} y="35">no effect</text>
    </svg>
  );
}
