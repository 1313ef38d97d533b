// The chosen layer over time, before the others: a row of the map in, a chart out.
import type { ComponentChild } from "preact";
import { useMemo } from "preact/hooks";
import type { Detail, HeatPanel, LinePanel } from "../data";
import { type Grid, rowValues } from "../grid";
import { FineLine } from "./FineLine";
import { LineTrack } from "./LineTrack";
import type { Shared } from "./Tracks";
import type { AskPanel } from "./useFiner";

interface Props {
  quantity: string;
  panel: HeatPanel;
  /** The panel's, unpacked. */
  grid: Grid;
  names: string[];
  row: number;
  layerIndex: number;
  details: Detail[];
  shared: Shared;
  stream: string;
  ask: AskPanel;
}

/** Others are drawn faint for comparison, spread over the depth. */
const CONTEXT = 8;

export function LayerTrack(props: Props) {
  const { quantity, panel, grid, names, row, layerIndex, details, shared, stream, ask } = props;
  const detail = details.find((one) => one.quantity === quantity && one.layer === layerIndex);
  const [lines, faint] = useMemo(() => fromMap(panel, grid, names, row), [panel, grid, names, row]);
  const title = <>{panel.title} <code>{breakable(names[row] ?? "")}</code></>;
  const common = { name: "layer", shared, height: 130, title };
  if (!detail) return <LineTrack {...common} panel={lines} faint={faint} />;
  const question = { stream, name: quantity, layer: names[row] ?? "" };
  return <FineLine {...common} panel={detail.panel} question={question} ask={ask} />;
}

/** A name that may go on in the next line after each of its dots. */
function breakable(name: string): ComponentChild[] {
  return name.split(/(?<=\.)/).flatMap((part, at) => [at > 0 && <wbr key={at} />, part]);
}

function fromMap(panel: HeatPanel, grid: Grid, names: string[], row: number): [LinePanel, Set<number>] {
  const every = Math.max(1, Math.ceil(grid.rows / CONTEXT));
  const others = names.map((_, at) => at).filter((at) => at !== row && at % every === 0);
  const rows = [...others, row];
  const lines: LinePanel = {
    kind: "line",
    title: panel.title,
    unit: panel.unit,
    log: panel.log,
    x: panel.x,
    width: panel.width,
    y: rows.map((at) => names[at] ?? ""),
    low: rows.map((at) => rowValues(grid, at)),
    high: null,
    marks: [],
  };
  return [lines, new Set(others.map((_, at) => at))];
}
