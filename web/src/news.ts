// What the server has to tell: an address in, its news and the state of the line out.
//
// The first message after each connection tells the whole state, so that whatever
// was missed while the line was down is fetched then.

export interface Connection {
  state: "live" | "connecting" | "lost";
  /** When this state began: milliseconds since 1970. */
  since: number;
}

/** Milliseconds until the next try; the last one is repeated. */
export const PAUSES = [250, 500, 1000, 2000];

/**
 * A page that nobody sees keeps its line for so long (ms): a browser has six to a
 * server, and with more pages open than that those that are seen would wait.
 */
export const UNSEEN = 60_000;

interface Hearer<News> {
  news: (news: News) => void;
  connection: (connection: Connection) => void;
}

type Make = (address: string) => EventSource;

/** Listens, and again after every break, until the returned function is called. */
export function listen<News>(
  address: string,
  kind: string,
  hearer: Hearer<News>,
  make: Make = (where) => new EventSource(where),
): () => void {
  let failures = 0;
  let source: EventSource | null = null;
  let timer = 0;
  let resting = 0;
  let stopped = false;
  const open = (): void => {
    source = make(address);
    source.onopen = () => {
      failures = 0;
      hearer.connection({ state: "live", since: Date.now() });
    };
    // The browser's own retry gives up after an answer that is not a stream.
    source.onerror = () => {
      source?.close();
      if (stopped) return;
      if (failures === 0) hearer.connection({ state: "lost", since: Date.now() });
      timer = window.setTimeout(open, PAUSES[Math.min(failures++, PAUSES.length - 1)]);
    };
    source.addEventListener(kind, (message: MessageEvent<string>) => {
      hearer.news(JSON.parse(message.data) as News);
    });
  };
  const rest = (): void => {
    window.clearTimeout(timer);
    source?.close();
    source = null;
  };
  const seen = (): void => {
    window.clearTimeout(resting);
    if (document.hidden) resting = window.setTimeout(rest, UNSEEN);
    else if (source === null) open();
  };
  document.addEventListener("visibilitychange", seen);
  hearer.connection({ state: "connecting", since: Date.now() });
  open();
  return () => {
    stopped = true;
    document.removeEventListener("visibilitychange", seen);
    window.clearTimeout(resting);
    rest();
  };
}
