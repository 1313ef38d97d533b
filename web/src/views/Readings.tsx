// Numbers beside a chart: the pointed-at step in, each line's value there out.
import { useEffect, useState } from "preact/hooks";
import { colourOf } from "../chart";
import type { LinePanel } from "../data";
import { number, shorten, step } from "../format";
import { palette } from "../theme";
import type { Shared } from "./Tracks";

interface Props {
  name: string;
  panel: LinePanel;
  faint: Set<number>;
  shared: Shared;
  /** Readings far apart: the one before counts until the next. */
  sparse?: boolean;
}

const MOST = 6;

export function Readings({ name, panel, faint, shared, sparse = false }: Props) {
  const [at, point] = useState<number | null>(null);
  useEffect(() => shared.pointer.follow((place) => point(place.step)), [shared.pointer]);
  const bin = at === null ? panel.x.length - 1 : binAt(panel.x, at);
  const colours = palette();
  const lines = panel.y.map((_, line) => line).filter((line) => !faint.has(line));
  return (
    <div class="readings">
      <p class="at">{at === null ? "last, " : ""}step {step(panel.x[bin] ?? 0)}</p>
      <ul>
        {lines.slice(0, MOST).map((line) => (
          <li key={line}>
            <i class="swatch" style={{ background: colourOf(line, faint, colours) }} />
            <b>{reading(panel, line, sparse ? known(panel, line, bin) : bin)}</b>
            {name !== "layer" && panel.y[line] !== "run" && <span title={panel.y[line]}>{shorten(panel.y[line] ?? "", 22)}</span>}
          </li>
        ))}
      </ul>
      {lines.length > MOST && <p class="at">and {lines.length - MOST} more</p>}
    </div>
  );
}

/** The last bin up to this one in which a line has a number; the bin itself where none has. */
function known(panel: LinePanel, line: number, bin: number): number {
  for (let at = bin; at >= 0; at--) if ((panel.low[line]?.[at] ?? null) !== null) return at;
  return bin;
}

function reading(panel: LinePanel, line: number, bin: number): string {
  const low = panel.low[line]?.[bin] ?? null;
  const high = panel.high?.[line]?.[bin] ?? low;
  if (low === null || low === high) return number(low);
  const [from, to] = [number(low), number(high)];
  return from === to ? from : `${from} – ${to}`;
}

function binAt(steps: number[], at: number): number {
  let low = 0;
  let high = steps.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((steps[middle] ?? 0) < at) low = middle + 1;
    else high = middle;
  }
  const before = steps[low - 1];
  if (before !== undefined && at - before < (steps[low] ?? 0) - at) return low - 1;
  return low;
}
