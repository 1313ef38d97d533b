// The linked charts of one stream: its panels in, one strip of tracks out.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Diagnosis, HeatPanel, LinePanel, PageData, StreamData } from "../data";
import { around, type Focus } from "../focus";
import { rowFor, rowsOf } from "../layers";
import { Pointer, type Range } from "../link";
import type { Theme } from "../theme";
import { EventStrip } from "./EventStrip";
import { HeatTrack } from "./HeatTrack";
import { LayerTrack } from "./LayerTrack";
import { LineTrack } from "./LineTrack";
import { QuantityChooser } from "./QuantityChooser";

interface Props {
  data: PageData;
  stream: StreamData;
  accusing: Diagnosis[];
  theme: Theme;
  focus: Focus;
}

/** What every track shares. */
export interface Shared {
  range: Range;
  whole: Range;
  pointer: Pointer;
  theme: Theme;
  onset: number | null;
  zoom: (range: Range) => void;
}

export function Tracks({ data, stream, accusing, theme, focus }: Props) {
  const maps = useMemo(() => panelsOf<HeatPanel>(stream, "heatmap"), [stream]);
  const lines = useMemo(() => panelsOf<LinePanel>(stream, "line"), [stream]);
  const pointer = useRef(new Pointer()).current;
  const whole = useMemo(() => extent(stream), [stream]);
  const [range, zoom] = useState<Range>(whole);
  const [quantity, choose] = useState(() => telling(maps, accusing, data.names));
  const [wanted, want] = useState<string | null>(accusing[0]?.layer ?? null);
  const onset = accusing[0]?.onset ?? null;
  useEffect(() => focus.follow({
    layer: want,
    step: (step) => { zoom(around(step, whole)); pointer.move(step); },
  }), [focus, pointer, whole]);
  const shared: Shared = { range, whole, pointer, theme, onset, zoom };
  const map = maps.find(([name]) => name === quantity) ?? maps[0];
  const names = useMemo(() => (map?.[1].y ?? []).map((at) => data.names[at] ?? ""), [map, data]);
  const accused = accusing[0] ? rowsOf(accusing[0].layer, names) : [];
  const row = rowFor(wanted, names, accused);
  const [loss, others] = [lines.filter(([name]) => name === "loss"), lines.filter(([name]) => name !== "loss")];
  return (
    <div class="tracks">
      {loss.map(([name, panel]) => <LineTrack key={name} name={name} panel={panel} shared={shared} height={150} />)}
      <EventStrip events={data.events.filter((event) => event.stream === stream.name)} shared={shared} />
      {map && (
        <>
          <div class="toolbar">
            <QuantityChooser
              options={maps.map(([name, panel]) => [name, panel.title])}
              chosen={map[0]}
              choose={choose}
            />
            <ZoomReset range={range} whole={whole} zoom={zoom} />
          </div>
          <HeatTrack
            quantity={map[0]} panel={map[1]} names={names} accused={accused} row={row} shared={shared}
            select={(chosen) => want(names[chosen] ?? null)}
          />
          <LayerTrack
            quantity={map[0]} panel={map[1]} names={names} row={row} shared={shared}
            details={stream.details} layerIndex={map[1].y[row] ?? -1}
          />
        </>
      )}
      {others.map(([name, panel], index) => (
        <LineTrack
          key={name} name={name} panel={panel} shared={shared} height={96}
          axis={index === others.length - 1}
        />
      ))}
    </div>
  );
}

function ZoomReset({ range, whole, zoom }: Pick<Shared, "range" | "whole" | "zoom">) {
  const zoomedIn = range[0] !== whole[0] || range[1] !== whole[1];
  if (!zoomedIn) return <span class="hint">Drag across a chart to zoom; click a cell for its layer.</span>;
  return <button type="button" class="plain" onClick={() => zoom(whole)}>Show all steps</button>;
}

function panelsOf<P extends { kind: string }>(stream: StreamData, kind: P["kind"]): [string, P][] {
  return Object.entries(stream.panels)
    .filter(([, panel]) => panel.kind === kind && panel.x.length > 0)
    .map(([name, panel]) => [name, panel as unknown as P]);
}

/** First to last recorded step of a stream, and never empty. */
function extent(stream: StreamData): Range {
  let low = Infinity;
  let high = -Infinity;
  for (const panel of Object.values(stream.panels)) {
    low = Math.min(low, panel.x[0] ?? low);
    high = Math.max(high, panel.x[panel.x.length - 1] ?? high);
  }
  if (low > high) return [0, 1];
  return [low, high + 1];
}

/** The map that shows the first diagnosis best: named by its evidence, with its layer. */
function telling(maps: [string, HeatPanel][], accusing: Diagnosis[], names: string[]): string {
  const told = accusing[0]?.findings.flatMap((finding) => finding.evidence.map((one) => one.series)) ?? [];
  const rank = ([name, panel]: [string, HeatPanel]): number => {
    const rows = rowsOf(accusing[0]?.layer ?? "", panel.y.map((at) => names[at] ?? ""));
    const named = told.some((text) => text.includes(name));
    return 2 * Number(rows.length > 0) + Number(named);
  };
  const [best] = [...maps].sort((a, b) => rank(b) - rank(a));
  return best?.[0] ?? "";
}
