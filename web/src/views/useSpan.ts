// Which steps the charts show: the whole run in, a range that may follow its end out.
import { useCallback, useMemo, useState } from "preact/hooks";
import type { Range } from "../link";

/** All of the run, however long it gets; a part that stays; the last so many steps. */
type Span = { kind: "whole" } | { kind: "part"; range: Range } | { kind: "end"; width: number };

export interface Spanned {
  range: Range;
  kind: Span["kind"];
  zoom: (range: Range) => void;
  /** Keep as many steps in view, and move with the end. */
  follow: () => void;
}

export function useSpan(whole: Range): Spanned {
  const [span, set] = useState<Span>({ kind: "whole" });
  const [low, high] = whole;
  const range = useMemo(() => rangeOf(span, [low, high]), [span, low, high]);
  const zoom = useCallback((wanted: Range) => {
    const all = wanted[0] <= low && wanted[1] >= high;
    set(all ? { kind: "whole" } : { kind: "part", range: wanted });
  }, [low, high]);
  const follow = useCallback(() => {
    set({ kind: "end", width: range[1] - range[0] });
  }, [range]);
  return { range, kind: span.kind, zoom, follow };
}

export function rangeOf(span: Span, whole: Range): Range {
  if (span.kind === "part") return span.range;
  if (span.kind === "end") return [Math.max(whole[1] - span.width, whole[0]), whole[1]];
  return whole;
}
