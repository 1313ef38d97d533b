// Drawing in turn: what is drawn and what it depends on in, calls to draw out.
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { Turns } from "../turns";

/** The turns of a strip of charts: jobs wait where it was new data that changed them. */
export function useTurns(data: unknown): Turns {
  const held = useRef({ turns: new Turns(), data }).current;
  held.turns.calm = held.data !== data;
  held.data = data;
  return held.turns;
}

/** Draws in turn after each change of `inputs`; `draw` may be another one each time. */
export function useTurn(turns: Turns, draw: () => void, inputs: unknown[]): void {
  const owner = useRef({}).current;
  useLayoutEffect(() => turns.take(owner, draw), inputs);
  useEffect(() => () => turns.drop(owner), [turns, owner]);
}
