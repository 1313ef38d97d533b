// One run for a view: a source and a name in, its state out, again on each change.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { LiveRun, type RunState, startOf } from "../live";
import type { Wish } from "../patch";
import type { Source } from "../source";

export interface Opened extends RunState {
  name: string;
  source: Source;
  /** Which panels are looked at now: they are fetched and followed. */
  look: (wishes: Wish[]) => void;
  dismiss: () => void;
}

export function useRun(source: Source, name: string): Opened {
  const [state, set] = useState<RunState>(() => startOf(source));
  const live = useRef<LiveRun | null>(null);
  useEffect(() => {
    const opened = new LiveRun(source, name, set);
    live.current = opened;
    opened.open();
    return () => opened.close();
  }, [source, name]);
  const look = useCallback((wishes: Wish[]) => live.current?.look(wishes), []);
  const dismiss = useCallback(() => live.current?.dismiss(), []);
  return { ...state, name, source, look, dismiss };
}
