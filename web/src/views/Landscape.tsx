// Slices of the loss: recorded surfaces and lines in, one of them to turn, to read from
// above and to choose out.
import { useCallback, useMemo, useState } from "preact/hooks";
import type { FieldData, FieldOffer } from "../data";
import type { AskField } from "../field";
import { number, step } from "../format";
import { between, heightOf, holesOf, type Land, landOf, levels, logarithmic, placeOn, reliefOf, type Told } from "../land";
import { type LossLine, lineOf } from "../line";
import { pathOn } from "../contours";
import { computed, extent, missing } from "../slice";
import type { Scene } from "../surface";
import type { Theme } from "../theme";
import { sentence } from "../words";
import { ContourPlot } from "./ContourPlot";
import { LossLinePlot } from "./LossLine";
import { SurfacePlot } from "./SurfacePlot";
import { useField } from "./useField";

interface Props {
  ask: AskField;
  stream: string;
  /** Of losses first, then of other maps over the same planes. */
  offers: FieldOffer[];
  theme: Theme;
}

export interface Choice {
  kind: string;
  step: number;
  title: string;
  label: string;
}

/** One for each slice; the step is told where a title comes more than once. */
export function choicesOf(offers: FieldOffer[]): Choice[] {
  const all = offers.flatMap(({ kind, steps, titles }) => steps.map((at, index) => ({ kind, step: at, title: titles[index] ?? "" })));
  const named = (one: Omit<Choice, "label">): string => {
    const name = one.title || one.kind.replaceAll("_", " ");
    const several = all.filter((other) => other.title === one.title && other.kind === one.kind).length > 1;
    return several ? `${name}, step ${step(one.step)}` : name;
  };
  return all.map((one) => ({ ...one, label: named(one) }));
}

export function Landscape({ ask, stream, offers, theme }: Props) {
  const choices = useMemo(() => choicesOf(offers), [offers]);
  const [chosen, choose] = useState<number | null>(null);
  const first = choices.reduce((last, one, at) => (one.kind === choices[0]?.kind ? at : last), 0);
  const wanted = choices[chosen ?? first] ?? choices[0] ?? { kind: "landscape", step: 0, title: "" };
  const { field, state, trouble } = useField(ask, { kind: wanted.kind, stream, step: wanted.step, layer: null, title: wanted.title });
  const land = useMemo(() => (field ? landOf(field) : null), [field]);
  const line = useMemo(() => (field && !land ? lineOf(field) : null), [field, land]);
  return (
    <section aria-labelledby="landscape-title" data-view="landscape">
      <div class="heading">
        <h2 id="landscape-title">The landscape of the loss</h2>
        {choices.length > 1 && (
          <label class="chooser">
            Slice{" "}
            <select value={chosen ?? first} onChange={(event) => choose(Number(event.currentTarget.value))}>
              {choices.map((one, index) => <option key={index} value={index}>{one.label}</option>)}
            </select>
          </label>
        )}
      </div>
      {field && land ? <Pictures key={field.title} field={field} land={land} theme={theme} />
        : field && line ? <Line key={field.title} field={field} line={line} theme={theme} />
          : <p class="nothing">{state === "failed" ? trouble : state === "loading" ? "Loading the slice …" : "There is no number in this slice."}</p>}
    </section>
  );
}

function Pictures({ field, land, theme }: { field: FieldData; land: Land; theme: Theme }) {
  const scale = logarithmic(land);
  const [log, setLog] = useState(scale.pays);
  const [dots, setDots] = useState(true);
  const [pointed, point] = useState<[number, number] | null>(null);
  const scaled = log && scale.can;
  const relief = useMemo(() => reliefOf(land, scaled), [land, scaled]);
  const still = useMemo(() => stillOf(land, relief.times, dots), [land, relief.times, dots]);
  const scene = useMemo((): Scene => ({
    ...still, heights: relief.heights, columns: relief.columns,
    pointed: pointed && [pointed[0] * relief.times, pointed[1] * relief.times],
  }), [relief, still, pointed]);
  const ticks = useMemo(() => {
    const of = heightOf(land, scaled);
    return levels(land, scaled, 5).map((level) => ({ at: of(level), label: number(level, 2) }));
  }, [land, scaled]);
  const seen = useCallback((place: [number, number] | null) => point(place), []);
  const said = sentences(field, land);
  return (
    <div class="landscape">
      <div class="plot-row">
        <SurfacePlot
          scene={scene} ticks={ticks} theme={theme}
          label={`${said} Arrow keys turn the surface, plus and minus zoom, Escape puts it back.`}
        />
        <ContourPlot land={land} relief={relief} log={scaled} dots={dots} pointed={pointed} point={seen} theme={theme} />
      </div>
      <Foot said={said} log={scaled} can={scale.can} setLog={setLog} dots={land.dots.length ? dots : null} setDots={setDots} />
    </div>
  );
}

/** What stands on the surface whatever its scale. */
function stillOf(land: Land, times: number, dots: boolean): Pick<Scene, "path" | "marks" | "dots" | "holes"> {
  const fine = ([column, row]: [number, number]): [number, number] => [column * times, row * times];
  return {
    path: pathOn(land).map(fine),
    marks: land.marks.map(({ at: [a, b], label }) => ({ at: fine([placeOn(land.alpha, a), placeOn(land.beta, b)]), label })),
    dots: dots ? land.dots.map(fine) : [],
    holes: holesOf(land).map(([x, y]) => ([[x, y], [x + 1, y], [x + 1, y + 1], [x, y + 1]] as [number, number][]).map(fine)),
  };
}

function Line({ field, line, theme }: { field: FieldData; line: LossLine; theme: Theme }) {
  const scale = logarithmic(line);
  const [log, setLog] = useState(scale.pays);
  const [dots, setDots] = useState(true);
  const [pointed, point] = useState<number | null>(null);
  const said = `${told(field, line)} Computed at step ${step(field.step)}.`;
  const scaled = log && scale.can;
  return (
    <div class="landscape">
      <LossLinePlot line={line} log={scaled} dots={dots} pointed={pointed} point={point} theme={theme} label={said} />
      <Foot said={said} log={scaled} can={scale.can} setLog={setLog} dots={dots} setDots={setDots} />
    </div>
  );
}

interface FootProps {
  said: string;
  log: boolean;
  can: boolean;
  setLog: (log: boolean) => void;
  /** Null where there is nothing to mark. */
  dots: boolean | null;
  setDots: (dots: boolean) => void;
}

function Foot({ said, log, can, setLog, dots, setDots }: FootProps) {
  return (
    <div class="plot-foot">
      <p class="note">{said}</p>
      <div class="checks">
        {dots !== null && (
          <label class="check">
            <input type="checkbox" checked={dots} onChange={() => setDots(!dots)} />
            computed points
          </label>
        )}
        <label class={`check${can ? "" : " off"}`}>
          <input type="checkbox" checked={log} disabled={!can} onChange={() => setLog(!log)} />
          logarithmic
        </label>
      </div>
    </div>
  );
}

function told(field: FieldData, of: Told): string {
  const title = field.title && field.title !== field.kind ? `${sentence(field.title)}. ` : "";
  return [`${title}${extent(of)}`, computed(of), missing(of)].filter(Boolean).join(" ");
}

/** Loss on the surface where the path begins and ends. */
function ends(land: Land): string {
  const lossAt = (place: [number, number] | undefined): number =>
    (place ? between(land.loss, land.alpha.length, placeOn(land.alpha, place[0]), placeOn(land.beta, place[1])) : NaN);
  const [from, to] = [lossAt(land.path[0]), lossAt(land.path.at(-1))];
  return Number.isNaN(from) || Number.isNaN(to) ? "" : `, from ${number(from)} at its start to ${number(to)} at its end`;
}

function sentences(field: FieldData, land: Land): string {
  const [a, b] = land.explained;
  const held = a === undefined || b === undefined ? "" : ` The two directions hold ${Math.round(100 * (a + b))} % of its movement; the rest is not seen here.`;
  const path = land.path.length > 1 ? ` The line is the way that training went${ends(land)}.${held}` : "";
  return `${told(field, land)}${path} Computed at step ${step(field.step)}.`;
}
