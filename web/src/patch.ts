// A run's page brought up to date: what is held and an answer in, new data out.
//
// All pure: nothing that is held is changed, and what an answer does not touch stays
// the same object, so that nothing else is drawn anew.
import { appended } from "./bins";
import type { Diagnosis, PageData, PanelAnswer, PanelData, StreamData, VerdictAnswer } from "./data";
import { grown, renamed, renumbered } from "./names";

/** A panel that somebody looks at; with a layer, that row of a map as a line. */
export interface Wish {
  stream: string;
  name: string;
  layer?: string;
}

export function keyOf(wish: Wish): string {
  return JSON.stringify([wish.stream, wish.name, wish.layer ?? null]);
}

export function heldPanel(data: PageData, wish: Wish): PanelData | null {
  const stream = data.streams.find((one) => one.name === wish.stream);
  if (!stream) return null;
  if (wish.layer === undefined) return stream.panels[wish.name] ?? null;
  const layer = data.names.indexOf(wish.layer);
  return stream.details.find((one) => one.quantity === wish.name && one.layer === layer)?.panel ?? null;
}

/** The page with a panel that was asked for: the whole of it, or its tail. */
export function withPanel(data: PageData, wish: Wish, answer: PanelAnswer, tail: boolean): PageData {
  if (!answer.panel) return data;
  const names = grown(grown(data.names, answer.names), wish.layer === undefined ? [] : [wish.layer]);
  const fresh = renumbered(answer.panel, answer.names, names);
  const held = tail ? heldPanel(data, wish) : null;
  const panel = held ? appended(held, fresh) : fresh;
  const streams = data.streams.map((stream) =>
    stream.name === wish.stream ? placed(stream, wish, panel, names) : stream);
  return { ...data, names, streams };
}

function placed(stream: StreamData, wish: Wish, panel: PanelData, names: string[]): StreamData {
  if (wish.layer === undefined) return { ...stream, panels: { ...stream.panels, [wish.name]: panel } };
  if (panel.kind !== "line") return stream;
  const layer = names.indexOf(wish.layer);
  const others = stream.details.filter((one) => one.quantity !== wish.name || one.layer !== layer);
  return { ...stream, details: [...others, { quantity: wish.name, layer, panel }] };
}

/** The page with what is told in words. */
export function withVerdict(data: PageData, answer: VerdictAnswer): PageData {
  const { run, judged, diagnoses, verdicts, replays, rescues } = answer;
  const events = [...data.events.slice(0, answer.events_from), ...answer.events];
  return { ...data, run, judged, diagnoses, verdicts, replays: replays ?? [], rescues: rescues ?? [], events };
}

/** A page loaded again, with the panels that only the page of before held. */
export function withPage(before: PageData, page: PageData): PageData {
  const fresh = renamed(page, before.names);
  const streams = fresh.streams.map((stream) => {
    const old = before.streams.find((one) => one.name === stream.name);
    if (!old) return stream;
    const own = new Set(stream.details.map((one) => JSON.stringify([one.quantity, one.layer])));
    const kept = old.details.filter((one) => !own.has(JSON.stringify([one.quantity, one.layer])));
    return { ...stream, panels: { ...old.panels, ...stream.panels }, details: [...kept, ...stream.details] };
  });
  return { ...fresh, streams };
}

/** Diagnoses that were not there before: another cause, or another place. */
export function newlyFound(before: Diagnosis[], after: Diagnosis[]): Diagnosis[] {
  const known = new Set(before.map(identity));
  return after.filter((diagnosis) => !known.has(identity(diagnosis)));
}

function identity(diagnosis: Diagnosis): string {
  return JSON.stringify([diagnosis.cause, diagnosis.layer, diagnosis.stream]);
}
