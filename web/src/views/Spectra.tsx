// Curvature in all directions at once: recorded spectra in, one with a slider over
// steps out.
import { useMemo, useState } from "preact/hooks";
import type { FieldOffer } from "../data";
import { type AskField, ofLayer } from "../field";
import { number, step } from "../format";
import { matrixOf, type Spectrum, spectrumOf } from "../spectrum";
import type { Theme } from "../theme";
import { SpectrumPlot } from "./SpectrumPlot";
import { useField } from "./useField";

interface Props {
  ask: AskField;
  stream: string;
  offer: FieldOffer;
  /** 2 / learning rate at a step, where the rate is known. */
  edgeAt: (step: number) => number | null;
  theme: Theme;
}

export function Spectra({ ask, stream, offer, edgeAt, theme }: Props) {
  const [at, choose] = useState(offer.steps.length - 1);
  const [layer, pick] = useState<string | null>(offer.layers[0] ?? null);
  const place = Math.min(at, offer.steps.length - 1);
  const wanted = offer.steps[place] ?? 0;
  const { field, state, trouble } = useField(ask, { kind: offer.kind, stream, step: wanted, layer });
  const spectrum = useMemo(() => {
    const own = field && ofLayer(field, layer);
    return own && spectrumOf(own);
  }, [field, layer]);
  return (
    <section aria-labelledby="spectra-title" data-view="spectra">
      <div class="heading">
        <h2 id="spectra-title">Spectrum of the curvature</h2>
        {offer.layers.length > 1 && (
          <label class="chooser">
            Of{" "}
            <select value={layer ?? ""} onChange={(event) => pick(event.currentTarget.value)}>
              {offer.layers.map((one) => <option key={one} value={one}>{one === "run" ? "all parameters" : one}</option>)}
            </select>
          </label>
        )}
      </div>
      <div class="card">
        {offer.steps.length > 1 && (
          <label class="slider">
            <span>step <b>{step(wanted)}</b></span>
            <input
              type="range" min={0} max={offer.steps.length - 1} step={1} value={place}
              aria-valuetext={`step ${step(wanted)}`} onInput={(event) => choose(Number(event.currentTarget.value))}
            />
            <span class="soft">{place + 1} of {offer.steps.length}</span>
          </label>
        )}
        {spectrum ? (
          <>
            <SpectrumPlot spectrum={spectrum} edge={edgeAt(spectrum.step)} theme={theme} label={told(spectrum)} />
            <p class="note">{told(spectrum)}</p>
          </>
        ) : (
          <p class="nothing">{state === "failed" ? trouble : state === "loading" ? "Loading the spectrum …" : "There is no spectrum of it."}</p>
        )}
      </div>
    </section>
  );
}

function told(spectrum: Spectrum): string {
  const one = (value: number, rank: number): string => {
    const error = spectrum.errors[rank];
    return error ? `${number(value)} ± ${number(error, 2)}` : number(value);
  };
  const largest = spectrum.top.length ? ` Largest: ${spectrum.top.slice(0, 5).map(one).join(", ")}.` : "";
  const matrix = matrixOf(spectrum);
  const below = spectrum.below === null ? "" : ` ${share(spectrum.below)} of the eigenvalues lie clearly below zero, where the loss curves downwards.`;
  const noise = spectrum.noise ? ` Standard error of the density: ${number(spectrum.noise, 2)} at most.` : "";
  return `Step ${step(spectrum.step)}.${matrix && ` ${matrix}.`}${largest}${below}${noise}`;
}

function share(part: number): string {
  if (part < 0.001) return "Hardly any";
  return `${Number((100 * part).toPrecision(2))} %`;
}
