// What the map's colours mean: a panel in, a labelled scale out.
import { useMemo } from "preact/hooks";
import { css, gradient, INFINITE_RGB, ZERO_RGB } from "../colours";
import { number } from "../format";
import { meaning } from "../words";
import { drawn, type Grid, INFINITE, MISSING, TOP, ZERO } from "../grid";

interface Props {
  quantity: string;
  grid: Grid;
}

export function Legend({ quantity, grid }: Props) {
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
      <span class="meaning">{meaning(quantity)}</span>
      <span class="scale">
        <span>{end(0)}</span>
        <i style={{ background: gradient() }} />
        <span>{end(TOP)}</span>
        {grid.log && <span class="soft">log</span>}
      </span>
      {specials.zero && <span class="chip"><i style={{ background: css(ZERO_RGB) }} />exactly 0</span>}
      {specials.infinite && <span class="chip"><i style={{ background: css(INFINITE_RGB) }} />infinite</span>}
      {specials.missing && <span class="chip"><i class="hatched" />NaN or absent</span>}
    </div>
  );
}
