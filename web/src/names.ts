// Layer names that maps share by number: two lists in, one that holds both out.
import type { HeatPanel, PageData, PanelData } from "./data";

/** `known` and what it lacks of `more`, in that order: numbers of before stay. */
export function grown(known: string[], more: string[]): string[] {
  const there = new Set(known);
  const added = more.filter((name) => !there.has(name));
  return added.length ? [...known, ...new Set(added)] : known;
}

/** The panel with rows numbered by another list, which must hold all its names. */
export function renumbered<P extends PanelData>(panel: P, from: string[], to: string[]): P {
  if (panel.kind !== "heatmap" || from === to) return panel;
  const place = new Map(to.map((name, at) => [name, at]));
  const y = (panel as HeatPanel).y.map((at) => place.get(from[at] ?? "") ?? -1);
  return { ...panel, y };
}

/** A page whose names begin with those of the page before it. */
export function renamed(page: PageData, before: string[]): PageData {
  const names = grown(before, page.names);
  const place = new Map(names.map((name, at) => [name, at]));
  const streams = page.streams.map((stream) => ({
    ...stream,
    panels: Object.fromEntries(
      Object.entries(stream.panels).map(([name, panel]) => [name, renumbered(panel, page.names, names)]),
    ),
    details: stream.details.map((detail) => ({
      ...detail, layer: place.get(page.names[detail.layer] ?? "") ?? detail.layer,
    })),
  }));
  return { ...page, names, streams };
}
