// Moving over the map by keyboard: a key in, a new cell, range or layer out.
import type { Grid } from "../grid";
import { columnAt } from "../grid";
import { moved, zoomed } from "../link";
import type { Shared } from "./Tracks";

export interface Cell {
  row: number;
  column: number;
}

export interface Keyboard {
  cell: Cell | null;
  row: number;
  grid: Grid;
  shared: Shared;
  point: (cell: Cell | null) => void;
  select: (row: number) => void;
}

/** Acts on a key; false when the key means nothing here. */
export function keyed(event: KeyboardEvent, board: Keyboard): boolean {
  const { grid, shared } = board;
  const cell = board.cell ?? { row: board.row, column: columnAt(grid, shared.onset ?? shared.range[0]) };
  const far = event.shiftKey ? 10 : 1;
  switch (event.key) {
    case "ArrowUp": return go(board, cell.row - far, cell.column);
    case "ArrowDown": return go(board, cell.row + far, cell.column);
    case "ArrowLeft": return go(board, cell.row, cell.column - far);
    case "ArrowRight": return go(board, cell.row, cell.column + far);
    case "Home": return go(board, cell.row, 0);
    case "End": return go(board, cell.row, grid.columns - 1);
    case "Enter":
    case " ": board.select(cell.row); return true;
    case "+":
    case "=": return zoom(board, 0.5, cell.column);
    case "-": return zoom(board, 2, cell.column);
    case "Escape": shared.zoom(shared.whole); board.point(null); return true;
    default: return false;
  }
}

function go(board: Keyboard, row: number, column: number): boolean {
  const { grid, shared } = board;
  const to = {
    row: Math.min(Math.max(row, 0), grid.rows - 1),
    column: Math.min(Math.max(column, 0), grid.columns - 1),
  };
  const from = grid.edges[to.column] ?? 0;
  const width = shared.range[1] - shared.range[0];
  if (from < shared.range[0] || from > shared.range[1]) {
    shared.zoom(moved(shared.range, from - shared.range[0] - width / 2, shared.whole));
  }
  board.point(to);
  return true;
}

function zoom({ grid, shared }: Keyboard, factor: number, column: number): boolean {
  shared.zoom(zoomed(shared.range, factor, grid.edges[column] ?? 0, shared.whole));
  return true;
}
