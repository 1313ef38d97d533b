// What to do about the steps in view: the span in, buttons or a hint out.
import type { Range } from "../link";
import type { Spanned } from "./useSpan";

interface Props {
  spanned: Spanned;
  whole: Range;
  /** Whether more steps are to come. */
  growing: boolean;
}

export function SpanButtons({ spanned, whole, growing }: Props) {
  if (spanned.kind === "whole") {
    return <span class="hint">Drag across a chart to zoom; click a cell for its layer.</span>;
  }
  return (
    <span class="buttons">
      {growing && spanned.kind === "part" && (
        <button type="button" class="plain" onClick={spanned.follow}>Follow the end</button>
      )}
      {spanned.kind === "end" && <span class="hint">Following the end</span>}
      <button type="button" class="plain" onClick={() => spanned.zoom(whole)}>Show all steps</button>
    </span>
  );
}
