// Where the data comes from: a document in, a Source out that answers all questions.
//
// Two kinds: a report holds its data inlined (here), a server is asked (server.ts).
// Nothing else in the page knows which it is, but for what a report cannot do.
import type {
  Comparison, FieldData, ListNews, PageData, PanelAnswer, RunList, RunNews, ServerData, VerdictAnswer,
} from "./data";
import { ofLayer } from "./field";
import type { Connection } from "./news";
import { serverSource } from "./server";

export const FORMAT = 2;

/** A panel, or part of one: steps from `start` up to and without `stop`. */
export interface PanelQuestion {
  stream: string;
  name: string;
  start?: number;
  stop?: number;
  /** Most bins, where no width is given. */
  points?: number;
  /** Exactly this many steps a bin. */
  width?: number;
  /** This layer alone, as a line. */
  layer?: string;
}

export interface FieldQuestion {
  stream: string;
  kind: string;
  /** The nearest recorded step at or before it; the last of all when left out. */
  step?: number;
  layer?: string;
  /** As told in the offer: which of several at one step. */
  title?: string;
}

export interface Hearer<News> {
  news: (news: News) => void;
  connection: (connection: Connection) => void;
}

export interface Source {
  kind: "report" | "server";
  /** What the server looks at; "" in a report. */
  folder: string;
  /** The page of the one run that a report holds, at hand at once. */
  held: PageData | null;
  runs(): Promise<RunList>;
  page(run: string): Promise<PageData>;
  panel(run: string, question: PanelQuestion): Promise<PanelAnswer>;
  field(run: string, question: FieldQuestion): Promise<FieldData | null>;
  verdict(run: string, eventsFrom: number): Promise<VerdictAnswer>;
  compare(runs: string[], quantity: string, points: number): Promise<Comparison>;
  /** News of all runs until the returned function is called. */
  followRuns(hearer: Hearer<ListNews>): () => void;
  followRun(run: string, hearer: Hearer<RunNews>): () => void;
  /** A person's answer to a question of a run that goes on. */
  answer(run: string, question: number, word: "yes" | "no"): Promise<void>;
  /** Where the report of a run can be fetched; null where this is the report. */
  reportAddress(run: string): string | null;
}

export function inlined(document: Document): PageData | ServerData {
  const element = document.getElementById("surefoot-data");
  if (!element) {
    throw new Error(
      "The page holds no data: expected a script element with the id " +
        "surefoot-data. Write the report again with: surefoot report RUN -o report.html",
    );
  }
  const data = JSON.parse(element.textContent ?? "") as { format?: unknown };
  if (data.format !== FORMAT) {
    throw new Error(
      `The data has format ${String(data.format)}, this page reads format ${FORMAT}. ` +
        "Write the report again with the Surefoot that recorded the run.",
    );
  }
  return data as PageData | ServerData;
}

/** The source that a document speaks for; throws where it holds no data. */
export function sourceOf(document: Document): Source {
  const data = inlined(document);
  return "server" in data ? serverSource(data.folder) : reportSource(data);
}

/** Answers from one run's data alone; what was left out is answered with nothing. */
export function reportSource(data: PageData): Source {
  const never = (): Promise<never> =>
    Promise.reject(new Error("This is the report of one run; for several runs use: surefoot ui FOLDER"));
  return {
    kind: "report",
    folder: "",
    held: data,
    runs: never,
    compare: never,
    answer: never,
    page: () => Promise.resolve(data),
    panel: () => Promise.resolve({ names: [], panel: null }),
    field: (_, question) => Promise.resolve(carried(data, question)),
    verdict: (_, from) =>
      Promise.resolve({
        run: data.run, judged: data.judged, diagnoses: data.diagnoses, verdicts: data.verdicts,
        replays: data.replays ?? [],
        rescues: data.rescues ?? [],
        events: data.events.slice(from), events_from: from,
      }),
    followRuns: () => () => undefined,
    followRun: () => () => undefined,
    reportAddress: () => null,
  };
}

/** Whether a field speaks of a layer: it spans several, or it is of that one. */
function of(field: FieldData, layer: string | undefined): boolean {
  const own = field.about["layer"];
  return layer === undefined || typeof own !== "string" || own === layer;
}

/** The field that a report carries: the last at or before a step, else the first. */
export function carried(data: PageData, question: FieldQuestion): FieldData | null {
  const stream = data.streams.find((one) => one.name === question.stream);
  const fields = (stream?.fields ?? [])
    .filter((one) => one.kind === question.kind && of(one, question.layer))
    .filter((one) => question.title === undefined || one.title === question.title)
    .sort((a, b) => a.step - b.step);
  const before = fields.filter((one) => one.step <= (question.step ?? Infinity));
  const found = before.at(-1) ?? fields[0] ?? null;
  return found && question.layer !== undefined ? ofLayer(found, question.layer) : found;
}
