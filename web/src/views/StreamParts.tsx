// What belongs to one stream beside and below its charts: its data in, sections out.
import { useMemo } from "preact/hooks";
import type { Diagnosis, FieldOffer, LinePanel, StreamData } from "../data";
import { offerOf } from "../field";
import type { Focus } from "../focus";
import { EDGE, largestAt } from "../sharpness";
import type { Theme } from "../theme";
import { Batches } from "./Batches";
import { Landscape } from "./Landscape";
import { ModelTree } from "./ModelTree";
import { Spectra } from "./Spectra";
import { useAskField } from "./useField";
import type { Opened } from "./useRun";

interface Props {
  stream: StreamData;
  accusing: Diagnosis[];
  focus: Focus;
  opened: Opened;
  theme: Theme;
}

export function StreamParts({ stream, accusing, focus, opened, theme }: Props) {
  const ask = useAskField(opened);
  const { name, facts, batches } = stream;
  const landscape = useSame(offerOf(stream, "landscape"));
  const convexity = useSame(offerOf(stream, "convexity"));
  const spectrum = useSame(offerOf(stream, "spectrum"));
  const rate = stream.panels["lr"];
  const edgeAt = useMemo(() => edgeOf(rate?.kind === "line" ? rate : null), [rate]);
  // A growing run changes its panels many times a second; what stays is not drawn anew.
  const model = useMemo(() => facts.modules.length > 0 && (
    <section aria-labelledby="model-title">
      <div class="heading">
        <h2 id="model-title">The model</h2>
        <p class="hint">Choose a part to see it in the charts.</p>
      </div>
      <ModelTree facts={facts} diagnoses={accusing} select={(layer) => { focus.layer(layer); approach(); }} />
    </section>
  ), [facts, accusing, focus]);
  const table = useMemo(() => batches.length > 0 && (
    <section aria-labelledby="batches-title">
      <div class="heading"><h2 id="batches-title">Batches that stand out</h2></div>
      <Batches batches={batches} show={(step) => { focus.step(step); approach(); }} />
    </section>
  ), [batches, focus]);
  const surface = useMemo(() => {
    const offers = [landscape, convexity].filter((one) => one !== null);
    return offers.length > 0 && <Landscape ask={ask} stream={name} offers={offers} theme={theme} />;
  }, [ask, name, landscape, convexity, theme]);
  return (
    <>
      <div class="pair">{model}{table}</div>
      {surface}
      {spectrum && <Spectra ask={ask} stream={name} offer={spectrum} edgeAt={edgeAt} theme={theme} />}
    </>
  );
}

/** The same offer until another step or layer is offered. */
function useSame(offer: FieldOffer | null): FieldOffer | null {
  const key = offer && `${offer.steps.length} ${offer.steps.at(-1) ?? ""} ${offer.layers.length} ${offer.titles.at(-1) ?? ""}`;
  return useMemo(() => offer, [key]);
}

/** 2 / learning rate at a step. */
function edgeOf(rate: LinePanel | null): (step: number) => number | null {
  return (step) => {
    const found = rate && largestAt(rate, step);
    return found ? EDGE / found : null;
  };
}

/** Brings the charts into view; the focus stays where it is. */
export function approach(): void {
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  document.getElementById("linked")?.scrollIntoView({ behavior: calm ? "auto" : "smooth" });
}
