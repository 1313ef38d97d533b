// More detail where one has zoomed in: a panel and a range in, a finer panel out.
//
// What is held is drawn at once; the server's answer takes its place when it comes.
import { useEffect, useState } from "preact/hooks";
import { LINE_POINTS, MAP_COLUMNS, startOfBin } from "../bins";
import type { PanelAnswer, PanelData } from "../data";
import type { Range } from "../link";
import type { PanelQuestion } from "../source";

/** Null where nothing finer is to be had. */
export type AskPanel = ((question: PanelQuestion) => Promise<PanelAnswer>) | null;

export interface Coarse<P extends PanelData> {
  panel: P;
  /** Names of a map's rows. */
  rows: string[];
  question: PanelQuestion;
}

interface Fine<P> {
  key: string;
  asked: Range;
  panel: P;
}

const CALM_MS = 150; // a wheel or a drag is over

export function useFiner<P extends PanelData>(coarse: Coarse<P>, range: Range, end: number, ask: AskPanel): P {
  const { panel, rows, question } = coarse;
  const key = JSON.stringify(question);
  const [fine, set] = useState<Fine<P> | null>(null);
  const wanted = wantedRange(panel, range, end);
  const [start, stop] = wanted ?? [0, 0];
  useEffect(() => {
    if (!ask || stop <= start) return undefined;
    let late = false;
    const timer = window.setTimeout(() => {
      ask({ ...question, start, stop, points: 2 * pointsOf(panel) }).then(
        (answer) => {
          const found = fitting(answer, panel, rows);
          if (!late && found) set({ key, asked: [start, stop], panel: found });
        },
        () => undefined, // what is held stays drawn; the state of the line tells the rest
      );
    }, CALM_MS);
    return () => { late = true; window.clearTimeout(timer); };
  }, [key, start, stop, Math.min(end, stop), ask]);
  return fine && wanted && fine.key === key && covers(fine.asked, range) && fine.panel.width < panel.width
    ? fine.panel
    : panel;
}

function pointsOf(panel: PanelData): number {
  return panel.kind === "line" ? LINE_POINTS / 2 : MAP_COLUMNS;
}

/** The range with as much on either side, in whole bins; null where it is fine enough. */
export function wantedRange(panel: PanelData, range: Range, end: number): Range | null {
  const wide = range[1] - range[0];
  const shown = Math.min(range[1], end) - range[0];
  if (panel.width <= 1 || shown / panel.width > pointsOf(panel) / 2) return null;
  const start = startOfBin(Math.max(range[0] - wide / 2, 0), panel.width);
  return [start, startOfBin(range[1] + wide / 2, panel.width) + panel.width];
}

function covers(asked: Range, range: Range): boolean {
  return asked[0] <= range[0] && asked[1] >= range[1];
}

/** The answer, if it shows the same rows: the charts share their numbers. */
function fitting<P extends PanelData>(answer: PanelAnswer, coarse: P, rows: string[]): P | null {
  const { panel, names } = answer;
  if (!panel?.x.length || panel.kind !== coarse.kind) return null;
  if (panel.kind !== "heatmap" || coarse.kind !== "heatmap") return panel as P;
  const same = panel.y.length === rows.length && panel.y.every((at, row) => names[at] === rows[row]);
  return same ? ({ ...panel, y: coarse.y } as PanelData as P) : null;
}
