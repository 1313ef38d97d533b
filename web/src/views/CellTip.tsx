// What a cell of the map says: a cell in, a small card beside it out.
import type { HeatPanel } from "../data";
import { number, step } from "../format";
import { codeAt, type Grid, value } from "../grid";
import { type Frame, xOf } from "../heat";
import type { Range } from "../link";
import { AXIS_HEIGHT } from "../steps";
import type { Cell } from "./cell";

interface Props {
  cell: Cell;
  frame: Frame;
  grid: Grid;
  panel: HeatPanel;
  names: string[];
  range: Range;
}

export function CellTip({ cell, frame, grid, panel, names, range }: Props) {
  const x = Math.max(xOf(grid.edges[cell.column] ?? 0, range, frame), frame.left);
  const y = ((cell.row + 1) * frame.height) / grid.rows;
  const leftward = x > frame.left + frame.width * 0.55;
  const above = y > frame.height * 0.6;
  const style = {
    [leftward ? "right" : "left"]: `${leftward ? frame.left + frame.width - x + 10 : x + 14}px`,
    [above ? "bottom" : "top"]: above ? `${frame.height + AXIS_HEIGHT - y + frame.height / grid.rows + 6}px` : `${y + 6}px`,
  };
  return (
    <div class="tip" style={style}>
      <code>{names[cell.row]}</code>
      <p><b>{shown(cell, grid)}</b> {panel.unit || panel.title.toLowerCase()}</p>
      <p class="soft">{when(cell, grid)}</p>
    </div>
  );
}

function shown(cell: Cell, grid: Grid): string {
  return number(value(grid, codeAt(grid, cell.row, cell.column)));
}

/** A column stands for all steps up to the next and shows the largest reading. */
function when(cell: Cell, grid: Grid): string {
  const from = grid.steps[cell.column] ?? 0;
  const to = (grid.edges[cell.column + 1] ?? from + 1) - 1;
  return to > from ? `steps ${step(from)} to ${step(to)}` : `step ${step(from)}`;
}

export function spokenCell(cell: Cell, grid: Grid, panel: HeatPanel, names: string[]): string {
  return `${names[cell.row] ?? ""}, ${when(cell, grid)}: ${panel.title.toLowerCase()} ${shown(cell, grid)}`;
}
