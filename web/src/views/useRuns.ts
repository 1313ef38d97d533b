// All runs for a view: a source in, the lines of its list out, again on each change.
import { useEffect, useState } from "preact/hooks";
import type { RunLine } from "../data";
import type { Connection } from "../news";
import { updated } from "../runs";
import type { Source } from "../source";

export interface Listed {
  /** Null until the first answer. */
  runs: RunLine[] | null;
  connection: Connection | null;
  trouble: unknown;
}

export function useRuns(source: Source): Listed {
  const [runs, set] = useState<RunLine[] | null>(null);
  const [connection, connect] = useState<Connection | null>(null);
  const [trouble, trip] = useState<unknown>(null);
  useEffect(() => {
    let fresh = true; // the first news after a connection tell of every run
    let closed = false;
    source.runs().then(
      (list) => { if (!closed) set((held) => held ?? list.runs); },
      (error: unknown) => { if (!closed) trip(error); },
    );
    const stop = source.followRuns({
      news: (news) => {
        const whole = fresh;
        fresh = false;
        trip(null);
        set((held) => updated(held ?? [], news, whole));
      },
      connection: (line) => {
        if (line.state === "live") fresh = true;
        connect(line);
      },
    });
    return () => { closed = true; stop(); };
  }, [source]);
  return { runs, connection, trouble };
}
