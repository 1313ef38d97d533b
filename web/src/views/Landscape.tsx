// The loss around the way that training went: a recorded surface in, a hill to turn and
// a map of it out.
import { useCallback, useMemo, useState } from "preact/hooks";
import type { FieldData, FieldOffer } from "../data";
import type { AskField } from "../field";
import { number, percent, step } from "../format";
import { between, heightOf, heights, type Land, landOf, levels, logarithmic, placeOn } from "../land";
import { pathOn } from "../contours";
import type { Theme } from "../theme";
import { ContourPlot } from "./ContourPlot";
import { SurfacePlot } from "./SurfacePlot";
import { useField } from "./useField";

interface Props {
  ask: AskField;
  stream: string;
  offer: FieldOffer;
  theme: Theme;
}

export function Landscape({ ask, stream, offer, theme }: Props) {
  const [at, choose] = useState(offer.steps.length - 1);
  const wanted = offer.steps[Math.min(at, offer.steps.length - 1)] ?? 0;
  const { field, state, trouble } = useField(ask, { kind: offer.kind, stream, step: wanted, layer: offer.layers[0] ?? null });
  const land = useMemo(() => (field ? landOf(field) : null), [field]);
  return (
    <section aria-labelledby="landscape-title" data-view="landscape">
      <div class="heading">
        <h2 id="landscape-title">The loss around the path</h2>
        {offer.steps.length > 1 && (
          <label class="chooser">
            Computed at step{" "}
            <select value={at} onChange={(event) => choose(Number(event.currentTarget.value))}>
              {offer.steps.map((one, index) => <option key={one} value={index}>{step(one)}</option>)}
            </select>
          </label>
        )}
      </div>
      {field && land ? <Pictures field={field} land={land} theme={theme} /> : (
        <p class="nothing">{state === "failed" ? trouble : state === "none" ? "There is no surface at this step." : "Loading the surface …"}</p>
      )}
    </section>
  );
}

function Pictures({ field, land, theme }: { field: FieldData; land: Land; theme: Theme }) {
  const scale = logarithmic(land);
  const [log, setLog] = useState(scale.pays);
  const [pointed, point] = useState<[number, number] | null>(null);
  const high = useMemo(() => heights(land, log), [land, log]);
  const path = useMemo(() => pathOn(land), [land]);
  const ticks = useMemo(() => {
    const of = heightOf(land, log);
    return levels(land, log, 5).map((level) => ({ at: of(level), label: number(level, 2) }));
  }, [land, log]);
  const seen = useCallback((place: [number, number] | null) => point(place), []);
  return (
    <div class="landscape">
      <div class="plot-row">
        <SurfacePlot
          heights={high} columns={land.alpha.length} path={path} pointed={pointed} ticks={ticks}
          theme={theme} label={spoken(field, land)}
        />
        <ContourPlot land={land} heights={high} log={log} pointed={pointed} point={seen} theme={theme} />
      </div>
      <div class="plot-foot">
        <p class="note">{explained(field, land)}</p>
        <label class={`check${scale.can ? "" : " off"}`}>
          <input type="checkbox" checked={log} disabled={!scale.can} onChange={() => setLog(!log)} />
          logarithmic loss
        </label>
      </div>
    </div>
  );
}

/** Loss on the surface where the path begins and ends. */
function ends(land: Land): string {
  const lossAt = (place: [number, number] | undefined): number =>
    (place ? between(land.loss, land.alpha.length, placeOn(land.alpha, place[0]), placeOn(land.beta, place[1])) : NaN);
  const [from, to] = [lossAt(land.path[0]), lossAt(land.path.at(-1))];
  return Number.isNaN(from) || Number.isNaN(to) ? "" : `, from ${number(from)} at its start to ${number(to)} at its end`;
}

function explained(field: FieldData, land: Land): string {
  const path = land.path.length
    ? `The line is the way that training went${ends(land)}.`
    : "No path was recorded with this surface.";
  const spread = land.explained.length >= 2
    ? ` The two directions hold ${percent((land.explained[0] ?? 0) + (land.explained[1] ?? 0))} of its movement (${percent(land.explained[0] ?? 0)} along α, ${percent(land.explained[1] ?? 0)} along β); the rest is not seen here.`
    : "";
  return `${path}${spread} Loss from ${number(land.range[0])} to ${number(land.range[1])}, computed at step ${step(field.step)}.`;
}

function spoken(field: FieldData, land: Land): string {
  return `${explained(field, land)} Arrow keys turn the surface, plus and minus zoom, Escape puts it back.`;
}
