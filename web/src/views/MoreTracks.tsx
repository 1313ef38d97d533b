// Tracks that show more than a line: shares of the updates, the edge of stability and
// the chosen layer's histogram; a stream in, those of its tracks that there are out.
import { useMemo } from "preact/hooks";
import type { HeatPanel, LinePanel, StreamData } from "../data";
import { offerOf } from "../field";
import { Contributions } from "./Contributions";
import { Histogram } from "./Histogram";
import { TRACKED } from "../sharpness";
import { Sharpness, TrackedSharpness } from "./Sharpness";
import type { Shared } from "./Tracks";
import { useAskField } from "./useField";
import type { Opened } from "./useRun";

/** Panels that have tracks of their own. */
export const SHARES = "contribution";
export const SHARPNESS = "directional_sharpness";

export function SharesTrack({ stream, names, shared }: { stream: StreamData; names: string[]; shared: Shared }) {
  const panel = stream.panels[SHARES];
  const map = panel?.kind === "heatmap" && panel.x.length ? panel : null;
  const rows = useMemo(() => (map?.y ?? []).map((at) => names[at] ?? ""), [map?.y, names]);
  return map && <Contributions panel={map as HeatPanel} names={rows} shared={shared} />;
}

/** Lines that the tracks of the sharpness show. */
export const OWN: readonly string[] = [SHARPNESS, ...TRACKED];

/** Whether there is a track of the sharpness, which then has the step axis. */
export function hasSharpness(stream: StreamData): boolean {
  return has(stream, SHARPNESS) || has(stream, "sharpness");
}

function has(stream: StreamData, name: string): boolean {
  return (stream.panels[name]?.x.length ?? 0) > 0;
}

export function SharpnessTrack({ stream, shared }: { stream: StreamData; shared: Shared }) {
  const rate = stream.panels["lr"];
  const felt = has(stream, SHARPNESS);
  return (
    <>
      <TrackedSharpness panels={stream.panels} shared={shared} axis={!felt} />
      {felt && (
        <Sharpness
          sharpness={stream.panels[SHARPNESS] as LinePanel} rate={rate?.kind === "line" ? rate : null}
          shared={shared} axis
        />
      )}
    </>
  );
}

interface HistogramProps {
  stream: StreamData;
  opened: Opened;
  layer: string | null;
  step: number | null;
  shared: Shared;
}

export function HistogramTrack({ stream, opened, layer, step, shared }: HistogramProps) {
  const ask = useAskField(opened);
  const offer = offerOf(stream, "grad_histogram");
  if (!offer || layer === null || !offer.layers.includes(layer)) return null;
  return <Histogram ask={ask} stream={stream.name} offer={offer} layer={layer} step={step} theme={shared.theme} />;
}
