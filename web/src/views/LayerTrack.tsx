// The chosen layer over time, before the others: a row of the map in, a chart out.
import { useMemo } from "preact/hooks";
import type { Detail, HeatPanel, LinePanel } from "../data";
import { rowValues, unpack } from "../grid";
import { LineTrack } from "./LineTrack";
import type { Shared } from "./Tracks";

interface Props {
  quantity: string;
  panel: HeatPanel;
  names: string[];
  row: number;
  layerIndex: number;
  details: Detail[];
  shared: Shared;
}

/** Others are drawn faint for comparison, spread over the depth. */
const CONTEXT = 8;

export function LayerTrack({ quantity, panel, names, row, layerIndex, details, shared }: Props) {
  const [lines, faint] = useMemo(() => {
    const detail = details.find((one) => one.quantity === quantity && one.layer === layerIndex);
    return detail ? [detail.panel, new Set<number>()] : fromMap(panel, names, row);
  }, [quantity, panel, names, row, layerIndex, details]);
  return (
    <LineTrack
      name="layer" panel={lines} faint={faint} shared={shared} height={130}
      title={<>{panel.title} <code>{names[row]}</code></>}
    />
  );
}

function fromMap(panel: HeatPanel, names: string[], row: number): [LinePanel, Set<number>] {
  const grid = unpack(panel);
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
