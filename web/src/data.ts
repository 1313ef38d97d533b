// What a page shows, as it comes over the wire: nothing in, types out.
//
// The Python side (surefoot/report/contents.py and surefoot/dashboard) writes exactly
// this. All strings come from a record and are untrusted: they may only ever become
// text nodes.

export type Severity = "info" | "warning" | "critical";

export interface Mark {
  label: string;
  step: number | null;
  layer: string | null;
}

export interface LinePanel {
  kind: "line";
  title: string;
  unit: string;
  log: boolean;
  /** First step of each bin. */
  x: number[];
  /** Steps a bin is wide: a power of two, bins begin at its multiples. */
  width: number;
  y: string[];
  /** low[i][j]: smallest value of line i in bin j; null where there is no number. */
  low: (number | null)[][];
  /** Largest values; null when every bin holds one value and low says it all. */
  high: (number | null)[][] | null;
  marks: Mark[];
}

export interface HeatPanel {
  kind: "heatmap";
  title: string;
  unit: string;
  log: boolean;
  x: number[];
  width: number;
  /** Indexes into the `names` beside it (PageData's or PanelAnswer's), one a row. */
  y: number[];
  /** Drawn-scale values of the codes 0 and TOP (see grid.ts). */
  range: [number, number];
  /**
   * Base64 of 16-bit little-endian codes, row by row. A page that has put new
   * columns to a map keeps the codes themselves. grid.ts reads both.
   */
  cells: string | Uint16Array;
  marks: Mark[];
}

export type PanelData = LinePanel | HeatPanel;

export interface Detail {
  quantity: string;
  layer: number;
  panel: LinePanel;
}

/** A map or line of a stream that there is, shown or not. */
export interface Offer {
  name: string;
  title: string;
  kind: PanelData["kind"];
}

/** Numbers over axes at one step: a histogram, a spectrum, a surface. */
export interface FieldData {
  kind: string;
  step: number;
  title: string;
  unit: string;
  /** In the order of the dimensions of `values`. */
  axes: { name: string; ticks: (number | string)[] }[];
  /** Row-major; null where there is no number. */
  values: (number | null)[];
  /** What belongs to the kind: `path`, `explained`, `top`, ... */
  about: Record<string, unknown>;
}

/** Where fields of one kind were recorded; `steps` in the order of recording. */
export interface FieldOffer {
  kind: string;
  title: string;
  steps: number[];
  layers: string[];
  /** One for each step where a step may have several, such as slices; else empty. */
  titles: string[];
}

export interface Reason {
  what: string;
  value: number | string;
  /** Median of the run, and how many robust standard deviations away it is. */
  usual: number | string;
  deviations: number | string;
}

/** A step whose batch stands out, most striking first. */
export interface Outstanding {
  step: number;
  reasons: Reason[];
}

export interface Facts {
  model: string;
  optimizer: string;
  options: Record<string, unknown>;
  parameters: number;
  trainable: number;
  tensors: number;
  modules: { name: string; kind: string }[];
  unseen: string[];
  /** What steadies the run, in words. */
  techniques: string[];
}

export interface StreamData {
  name: string;
  facts: Facts;
  /** All that can be asked for; a report holds the panels themselves of most. */
  offers: Offer[];
  panels: Record<string, PanelData>;
  details: Detail[];
  field_offers: FieldOffer[];
  /** Those that a report carries along; a server is asked for others. */
  fields: FieldData[];
  batches: Outstanding[];
}

export interface Evidence {
  series: string;
  observed: number | string;
  bound: number | string;
  source: string;
}

export interface Finding {
  signature: string;
  layer: string;
  onset: number;
  severity: Severity;
  evidence: Evidence[];
  layers: string[];
  detail: Record<string, unknown>;
}

export interface Change {
  knob: string;
  op: string;
  amount: number | string;
  layers: string[];
}

export interface Prescription {
  remedy: string;
  changes: Change[];
  expect: string;
  source: string;
  advice: string;
}

export interface Diagnosis {
  cause: string;
  about: string;
  layer: string;
  onset: number;
  confidence: number;
  confirmed: boolean;
  stream: string;
  /** How it is told from its look-alikes; older records' pages may lack it. */
  told_apart?: string;
  findings: Finding[];
  prescriptions: Prescription[];
}

export interface Verdict {
  prescription: Prescription;
  metric: string;
  seeds: number[];
  baseline: (number | string)[];
  treated: (number | string)[];
  effect: number | string;
  interval: [number | string, number | string];
  held: boolean;
}

/** What one change did to the moments of an incident. */
export interface BranchVerdict {
  prescription: Prescription;
  verdict: string;
  loss: number | string;
  held_out: number | string;
  losses: (number | string)[];
  detail: string;
}

/** The moments of an incident again, once for each change. */
export interface Replayed {
  incident: string;
  first: number;
  parting: number;
  onset: number;
  last: number;
  result: string;
  cause: string;
  evidence: string[];
  layers: string[];
  remedy: Prescription | null;
  branches: BranchVerdict[];
  recorded: (number | string)[];
  noise: number;
  departs: number | null;
  set_aside: string;
  seconds: number;
  notes: string[];
}

export interface RunEvent {
  step: number;
  kind: string;
  stream: string;
  body: Record<string, unknown>;
}

export interface Run {
  name: string;
  created: string;
  script: string;
  argv: string[];
  status: string;
  error: string;
  steps: number;
  versions: Record<string, string>;
}

/** One training of a rescue; the first is the run as it was. */
export interface RescueAttempt {
  changes: string[];
  value: number | string | null;
  losses: (number | string)[];
  /** How much of the run it took. */
  share: number;
  chosen: boolean;
  detail: string;
}

/** What a rescue came to. */
export interface Rescued {
  headline: string;
  metric: string;
  attempts: RescueAttempt[];
  spent: number;
}

/** How far the diagnosis is: of the whole run, of it so far, or still to come. */
export interface Judged {
  state: "final" | "so_far" | "pending" | "failed";
  /** Steps that were looked at; null while none were. */
  steps: number | null;
  /** A plain sentence where something is to be said ("" otherwise). */
  text: string;
}

export interface PageData {
  format: 2;
  run: Run;
  judged: Judged;
  looked_at: string[];
  names: string[];
  streams: StreamData[];
  diagnoses: Diagnosis[];
  verdicts: Verdict[];
  /** Pages of before have none. */
  replays?: Replayed[];
  rescues?: Rescued[];
  events: RunEvent[];
  /** Plain sentences: what was left out to keep the page small. */
  left_out: string[];
}

// --- what a server answers beside PageData --------------------------------------

/** In place of PageData, inlined in the page that a server hands out. */
export interface ServerData {
  format: 2;
  server: true;
  folder: string;
}

export interface Spark {
  low: (number | null)[];
  high: (number | null)[];
}

/** One run of a list. */
export interface RunLine {
  name: string;
  created: string;
  status: string;
  steps: number;
  last_loss: number | string | null;
  spark: Spark | null;
  judged: Judged;
  verdict: { cause: string; layer: string; onset: number; severity: Severity; confidence: number; more: number } | null;
  /** What is wrong with the file, in plain words; null where nothing is. */
  trouble: string | null;
}

/** GET /api/runs */
export interface RunList {
  folder: string;
  runs: RunLine[];
}

/** GET /api/run/NAME/panel?stream=&name=&start=&stop=&points=&width=&layer= */
export interface PanelAnswer {
  names: string[];
  panel: PanelData | null;
}

/** GET /api/run/NAME/verdict?events_from=K: all that is told in words. */
export interface VerdictAnswer {
  run: Run;
  judged: Judged;
  diagnoses: Diagnosis[];
  verdicts: Verdict[];
  /** Pages of before have none. */
  replays?: Replayed[];
  rescues?: Rescued[];
  /** Events from number `events_from` on. */
  events: RunEvent[];
  events_from: number;
}

/** GET /api/compare?run=A&run=B&quantity=loss&points=500 */
export interface Comparison {
  quantity: string;
  title: string;
  unit: string;
  /** Quantities of the whole run that any of these runs holds. */
  quantities: string[];
  lines: { run: string; stream: string; label: string; x: number[]; low: (number | null)[]; high: (number | null)[] }[];
  /** Runs that could not be read, and why. */
  troubles: { run: string; text: string }[];
}

/** Message "run" of GET /api/news?run=NAME: sent at once, then when it changes. */
export interface RunNews {
  status: string;
  steps: number;
  events: number;
  judged: Judged;
  /** Changes whenever the diagnosis does. */
  verdict: string;
}

/** Message "runs" of GET /api/news: all lines at once, then those that changed. */
export interface ListNews {
  runs: RunLine[];
  gone: string[];
}
