// What the map's colours mean: a panel in, a labelled scale out.
import { useMemo } from "preact/hooks";
import { css, gradient, INFINITE_RGB, ZERO_RGB } from "../colours";
import type { HeatPanel } from "../data";
import { number } from "../format";
import { drawn, type Grid, INFINITE, MISSING, TOP, ZERO } from "../grid";

export function Legend({ panel, grid }: { panel: HeatPanel; grid: Grid }) {
  const specials = useMemo(() => ({
    zero: grid.codes.includes(ZERO),
    infinite: grid.codes.includes(INFINITE),
    missing: grid.codes.includes(MISSING),
  }), [grid]);
  const end = (code: number): string => {
    const scaled = drawn(grid, code) ?? 0;
    return number(grid.log ? 10 ** scaled : scaled, 2);
  };
  return (
    <div class="legend">
      <h3>{panel.title}</h3>
      {panel.unit && <span class="unit">{panel.unit}</span>}
      <span class="scale">
        <span>{end(0)}</span>
        <i style={{ background: gradient() }} />
        <span>{end(TOP)}</span>
        {grid.log && <span class="soft">log</span>}
      </span>
      {specials.zero && <span class="chip"><i style={{ background: css(ZERO_RGB) }} />exactly 0</span>}
      {specials.infinite && <span class="chip"><i style={{ background: css(INFINITE_RGB) }} />infinite</span>}
      {specials.missing && <span class="chip"><i class="hatched" />no number</span>}
    </div>
  );
}
