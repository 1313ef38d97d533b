// The linked charts of one stream: its panels in, one strip of tracks out.
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Diagnosis, HeatPanel, LinePanel, PageData, StreamData } from "../data";
import { actedAt } from "../deeds";
import { around, type Focus } from "../focus";
import { rowFor, rowsOf } from "../layers";
import { Pointer, type Range } from "../link";
import { keyOf, type Wish } from "../patch";
import type { PanelQuestion } from "../source";
import type { Theme } from "../theme";
import type { Turns } from "../turns";
import { EventStrip } from "./EventStrip";
import { FineLine } from "./FineLine";
import { LineChooser } from "./LineChooser";
import { MapTracks } from "./MapTracks";
import { hasSharpness, HistogramTrack, OWN, SHARES, SharesTrack, SharpnessTrack } from "./MoreTracks";
import { QuantityChooser } from "./QuantityChooser";
import { SpanButtons } from "./SpanButtons";
import type { AskPanel } from "./useFiner";
import type { Opened } from "./useRun";
import { useSpan } from "./useSpan";
import { useTurns } from "./useTurn";

interface Props {
  data: PageData;
  stream: StreamData;
  accusing: Diagnosis[];
  theme: Theme;
  focus: Focus;
  opened: Opened;
}

/** What every track shares. */
export interface Shared {
  range: Range;
  whole: Range;
  pointer: Pointer;
  theme: Theme;
  onset: number | null;
  /** Steps at which something was done to the training. */
  acts: number[];
  zoom: (range: Range) => void;
  /** Whose turn it is to draw. */
  turns: Turns;
}

export function Tracks({ data, stream, accusing, theme, focus, opened }: Props) {
  const pointer = useRef(new Pointer()).current;
  const whole = extent(stream);
  const spanned = useSpan(whole);
  const { range, zoom } = spanned;
  const [quantity, choose] = useChosen(stream, accusing, data.names);
  const [wanted, want] = useState<string | null>(null);
  const [clicked, click] = useState<number | null>(null);
  const [added, add] = useState<string[]>([]);
  useEffect(() => focus.follow({
    layer: want,
    step: (step) => { zoom(around(step, whole)); pointer.move(step); },
  }), [focus, pointer, zoom, whole[0], whole[1]]);
  const turns = useTurns(data);
  const own = useMemo(() => data.events.filter((event) => event.stream === stream.name), [data.events, stream.name]);
  const acts = useMemo(() => actedAt(own), [own]);
  const shared: Shared = { range, whole, pointer, theme, onset: accusing[0]?.onset ?? null, acts, zoom, turns };
  const lines = panelsOf<LinePanel>(stream, "line");
  const map = stream.panels[quantity]?.kind === "heatmap" ? (stream.panels[quantity] as HeatPanel) : null;
  const names = useMemo(() => (map?.y ?? []).map((at) => data.names[at] ?? ""), [map?.y, data.names]);
  const accused = useMemo(() => (accusing[0] ? rowsOf(accusing[0].layer, names) : []), [accusing, names]);
  const row = rowFor(wanted ?? accusing[0]?.layer ?? null, names, accused);
  useWishes(opened, stream, { quantity, layer: map ? names[row] ?? null : null, added });
  const ask = useAsk(opened);
  const line = (name: string, panel: LinePanel, height: number, axis = false) => (
    <FineLine
      key={name} name={name} panel={panel} shared={shared} height={height} axis={axis}
      question={{ stream: stream.name, name }} ask={ask}
    />
  );
  const others = lines.filter(([name]) => name !== "loss" && !OWN.includes(name));
  const edge = hasSharpness(stream);
  const select = (chosen: number): void => { want(names[chosen] ?? null); click(pointer.place.step); };
  return (
    <div class="tracks">
      {lines.filter(([name]) => name === "loss").map(([name, panel]) => line(name, panel, 150))}
      <EventStrip events={own} shared={shared} />
      <div class="toolbar">
        <QuantityChooser options={mapsOf(stream, opened)} chosen={quantity} choose={choose} />
        <SpanButtons spanned={spanned} whole={whole} growing={data.run.status === "running"} />
      </div>
      <MapTracks
        quantity={quantity} panel={map} names={names} accused={accused} row={row} shared={shared}
        layerIndex={map?.y[row] ?? -1} stream={stream} ask={ask} select={select}
        refused={opened.refused.get(keyOf({ stream: stream.name, name: quantity })) ?? null}
      />
      <HistogramTrack stream={stream} opened={opened} layer={names[row] ?? null} step={clicked} shared={shared} />
      <SharesTrack stream={stream} names={data.names} shared={shared} />
      {others.map(([name, panel], index) => line(name, panel, 96, !edge && index === others.length - 1))}
      {edge && <SharpnessTrack stream={stream} shared={shared} />}
      <LineChooser options={unshown(stream, opened)} choose={(name) => add([...added, name])} />
    </div>
  );
}

/** The map that is chosen: until somebody does, the one that shows the diagnosis best. */
function useChosen(stream: StreamData, accusing: Diagnosis[], names: string[]): [string, (name: string) => void] {
  const [chosen, choose] = useState<string | null>(null);
  const first = useRef("");
  const maps = panelsOf<HeatPanel>(stream, "heatmap").filter(([name]) => name !== SHARES);
  if (!first.current && maps.length) first.current = telling(maps, accusing, names);
  const offered = stream.offers.find((offer) => offer.kind === "heatmap" && offer.name !== SHARES)?.name ?? "";
  return [chosen ?? (first.current || offered), choose];
}

/** Maps that can be looked at; a report has only those that it holds. */
function mapsOf(stream: StreamData, opened: Opened): [name: string, title: string][] {
  const offered = stream.offers.filter((offer) => offer.kind === "heatmap" && offer.name !== SHARES);
  const there = opened.source.kind === "server" ? offered : offered.filter((offer) => offer.name in stream.panels);
  if (there.length) return there.map((offer) => [offer.name, offer.title]);
  return panelsOf<HeatPanel>(stream, "heatmap").map(([name, panel]) => [name, panel.title]);
}

/** Lines that were recorded and can be had, but are not shown unasked. */
function unshown(stream: StreamData, opened: Opened): [name: string, title: string][] {
  if (opened.source.kind === "report") return [];
  return stream.offers
    .filter((offer) => offer.kind === "line" && !(offer.name in stream.panels))
    .map((offer) => [offer.name, offer.title]);
}

interface Looked {
  quantity: string;
  layer: string | null;
  added: string[];
}

/** Tells what is looked at: all lines, the chosen map and its chosen layer. */
function useWishes(opened: Opened, stream: StreamData, { quantity, layer, added }: Looked): void {
  const lines = Object.keys(stream.panels).filter((name) => stream.panels[name]?.kind === "line");
  const wishes: Wish[] = [...new Set([...lines, ...added])].map((name) => ({ stream: stream.name, name }));
  if (stream.offers.some((offer) => offer.name === SHARES)) wishes.push({ stream: stream.name, name: SHARES });
  if (quantity) wishes.push({ stream: stream.name, name: quantity });
  if (quantity && layer !== null) wishes.push({ stream: stream.name, name: quantity, layer });
  const { look } = opened;
  useEffect(() => look(wishes), [look, wishes.map(keyOf).join()]);
}

function useAsk({ source, name }: Opened): AskPanel {
  const ask = useCallback((question: PanelQuestion) => source.panel(name, question), [source, name]);
  return source.kind === "server" ? ask : null;
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
