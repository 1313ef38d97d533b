// Made-up values for the unit tests.
import type { Diagnosis, HeatPanel, LinePanel, PageData, RunLine, StreamData } from "../src/data";
import { MISSING } from "../src/grid";

export function packed(rows: number[][]): string {
  return btoa(rows.flat().map((code) => String.fromCharCode(code & 255, code >> 8)).join(""));
}

export function heat(over: Partial<HeatPanel> = {}): HeatPanel {
  return {
    kind: "heatmap", title: "Gradient norm", unit: "", log: true, x: [0, 10, 20], width: 10, y: [0, 1],
    range: [-3, 0], cells: packed([[0, 32500, 65000], [65533, 65534, MISSING]]), marks: [], ...over,
  };
}

export function line(over: Partial<LinePanel> = {}): LinePanel {
  return {
    kind: "line", title: "Loss", unit: "", log: false, x: [0, 1, 2], width: 1, y: ["loss"],
    low: [[3, 2, 1]], high: null, marks: [], ...over,
  };
}

export function diagnosis(over: Partial<Diagnosis> = {}): Diagnosis {
  return {
    cause: "vanishing_gradients", about: "Too little arrives.", layer: "net.0.weight", onset: 12,
    confidence: 0.9, confirmed: true, stream: "main",
    findings: [{
      signature: "vanishing_gradients", layer: "net.0.weight", onset: 12, severity: "critical",
      evidence: [{ series: "grad_norm", observed: 1e-9, bound: 1e-5, source: "a paper" }],
      layers: ["net.0.weight"], detail: {},
    }],
    prescriptions: [{ remedy: "use_relu", changes: [], expect: "more", source: "s", advice: "Use ReLU." }],
    ...over,
  };
}

export function page(over: Partial<PageData> = {}): PageData {
  return {
    format: 2, judged: { state: "final", steps: 300, text: "" },
    run: { name: "net", created: "", script: "", argv: [], status: "finished", error: "", steps: 300, versions: {} },
    looked_at: ["loss", "lr"], names: ["net.0.weight", "net.2.weight"], streams: [],
    diagnoses: [], verdicts: [], events: [], left_out: [], ...over,
  };
}

export function streamOf(over: Partial<StreamData> = {}): StreamData {
  return {
    name: "main", offers: [], panels: {}, details: [], field_offers: [], fields: [], batches: [],
    facts: { model: "", optimizer: "", options: {}, parameters: 0, trainable: 0, tensors: 0, modules: [], unseen: [], techniques: [] },
    ...over,
  };
}

export function runLine(over: Partial<RunLine> = {}): RunLine {
  return {
    name: "net", created: "2026-01-01T00:00:00+00:00", status: "finished", steps: 300, last_loss: 0.5,
    spark: null, judged: { state: "final", steps: 300, text: "" }, verdict: null, trouble: null, ...over,
  };
}
