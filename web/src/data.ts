// What a page shows, as it comes over the wire: nothing in, types out.
//
// The Python side (surefoot/report/page.py) writes exactly this. All strings come
// from a record and are untrusted: they may only ever become text nodes.

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
  x: number[];
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
  /** Indexes into PageData.names, one for each row. */
  y: number[];
  /** Drawn-scale values of the codes 0 and TOP (see grid.ts). */
  range: [number, number];
  /** One base64 string a row: 16-bit little-endian codes. */
  cells: string[];
  marks: Mark[];
}

export type PanelData = LinePanel | HeatPanel;

export interface Detail {
  quantity: string;
  layer: number;
  panel: LinePanel;
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
}

export interface StreamData {
  name: string;
  facts: Facts;
  panels: Record<string, PanelData>;
  details: Detail[];
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

export interface PageData {
  format: 1;
  run: Run;
  looked_at: string[];
  names: string[];
  streams: StreamData[];
  diagnoses: Diagnosis[];
  verdicts: Verdict[];
  events: RunEvent[];
  /** Plain sentences: what was left out to keep the page small. */
  left_out: string[];
}
