// Remedies that were tried: verdicts in, paired pictures out.
import { useRef } from "preact/hooks";
import type { Verdict } from "../data";
import { number, signed } from "../format";
import { advice, sentence, spaced } from "../words";
import { useWidth } from "./useWidth";

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
