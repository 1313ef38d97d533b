// Lines of equal height: a rectangle of numbers in, pieces of line out.
//
// Marching squares. Points are in grid places: [column, row] as fractions.

export type Point = [number, number];

/** Pieces of the line at a height; cells with a missing corner have none. */
export function contour(heights: ArrayLike<number>, columns: number, level: number): [Point, Point][] {
  const rows = Math.floor(heights.length / columns);
  const out: [Point, Point][] = [];
  for (let row = 0; row + 1 < rows; row++) {
    for (let column = 0; column + 1 < columns; column++) {
      out.push(...cell(heights, columns, level, [column, row]));
    }
  }
  return out;
}

function cell(heights: ArrayLike<number>, columns: number, level: number, [x, y]: Point): [Point, Point][] {
  const at = y * columns + x;
  const a = heights[at] ?? NaN;
  const b = heights[at + 1] ?? NaN;
  const c = heights[at + columns + 1] ?? NaN;
  const d = heights[at + columns] ?? NaN;
  if (!Number.isFinite(a + b + c + d)) return [];
  const code = Number(a >= level) + 2 * Number(b >= level) + 4 * Number(c >= level) + 8 * Number(d >= level);
  if (code === 0 || code === 15) return [];
  const share = (from: number, to: number): number => (level - from) / (to - from);
  const top = (): Point => [x + share(a, b), y];
  const right = (): Point => [x + 1, y + share(b, c)];
  const bottom = (): Point => [x + share(d, c), y + 1];
  const left = (): Point => [x, y + share(a, d)];
  switch (code) {
    case 1: case 14: return [[left(), top()]];
    case 2: case 13: return [[top(), right()]];
    case 3: case 12: return [[left(), right()]];
    case 4: case 11: return [[right(), bottom()]];
    case 6: case 9: return [[top(), bottom()]];
    case 7: case 8: return [[left(), bottom()]];
    default: return saddle(code === 5, (a + b + c + d) / 4 >= level, { top, right, bottom, left });
  }
}

/** Two lines through one cell: its middle tells which corners belong together. */
function saddle(
  ac: boolean, high: boolean, side: Record<"top" | "right" | "bottom" | "left", () => Point>,
): [Point, Point][] {
  return ac === high
    ? [[side.top(), side.right()], [side.left(), side.bottom()]]
    : [[side.left(), side.top()], [side.right(), side.bottom()]];
}

/** Joins pieces into lines as long as they go, so that they can be labelled. */
export function joined(pieces: [Point, Point][]): Point[][] {
  const key = ([x, y]: Point): string => `${x.toFixed(5)},${y.toFixed(5)}`;
  const ends = new Map<string, number[]>();
  pieces.forEach((piece, at) => piece.forEach((end) => {
    const list = ends.get(key(end));
    if (list) list.push(at);
    else ends.set(key(end), [at]);
  }));
  const used = new Set<number>();
  const follow = (from: Point): Point[] => {
    const line: Point[] = [];
    let end = from;
    for (;;) {
      const next = ends.get(key(end))?.find((at) => !used.has(at));
      const piece = next === undefined ? undefined : pieces[next];
      if (next === undefined || !piece) return line;
      used.add(next);
      end = key(piece[0]) === key(end) ? piece[1] : piece[0];
      line.push(end);
    }
  };
  return pieces.flatMap((piece, at) => {
    if (used.has(at)) return [];
    used.add(at);
    const forward = follow(piece[1]);
    const backward = follow(piece[0]);
    return [[...backward.reverse(), piece[0], piece[1], ...forward]];
  });
}
