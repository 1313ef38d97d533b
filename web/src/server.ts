// Questions to the server: plain values in, promises of its answers out.
//
// Every failure becomes an Error whose text says what to do; one that the server
// itself worded is shown as it is.
import type {
  Comparison, FieldData, ListNews, PageData, PanelAnswer, RunList, RunNews, VerdictAnswer,
} from "./data";
import { listen } from "./news";
import type { Source } from "./source";

/** The server answered, but not with what was asked for. */
export class Refused extends Error {
  constructor(readonly status: number, text: string) {
    super(text);
  }
}

/** No answer came at all. */
export class Unreachable extends Error {}

type Parameters = Record<string, string | number | string[] | undefined>;

export function address(path: string, parameters: Parameters = {}): string {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(parameters)) {
    if (value === undefined) continue;
    for (const one of Array.isArray(value) ? value : [value]) query.append(key, String(one));
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

const ofRun = (run: string, rest = ""): string => `/api/run/${encodeURIComponent(run)}${rest}`;

export function serverSource(folder: string): Source {
  return {
    kind: "server",
    folder,
    held: null,
    runs: () => answer<RunList>("/api/runs"),
    page: (run) => answer<PageData>(ofRun(run)),
    panel: (run, question) => answer<PanelAnswer>(address(ofRun(run, "/panel"), { ...question })),
    field: (run, question) => answer<FieldData | null>(address(ofRun(run, "/field"), { ...question })),
    verdict: (run, from) => answer<VerdictAnswer>(address(ofRun(run, "/verdict"), { events_from: from })),
    compare: (runs, quantity, points) =>
      answer<Comparison>(address("/api/compare", { run: runs, quantity, points })),
    followRuns: (hearer) => listen<ListNews>("/api/news", "runs", hearer),
    followRun: (run, hearer) => listen<RunNews>(address("/api/news", { run }), "run", hearer),
    answer: (run, question, word) => sent(ofRun(run, "/answer"), { question, answer: word }),
    reportAddress: (run) => ofRun(run, "/report"),
  };
}

async function answer<T>(path: string): Promise<T> {
  const response = await reached(path);
  const body = (await response.json().catch(() => undefined)) as unknown;
  if (response.ok && body !== undefined) return body as T;
  throw new Refused(response.status, told(body) ?? unclear(response.status, path));
}

/** Sends a value, and waits until the server has taken it. */
async function sent(path: string, value: unknown): Promise<void> {
  const response = await reached(path, {
    method: "POST", body: JSON.stringify(value), headers: { "Content-Type": "application/json" },
  });
  if (response.ok) return;
  const body = (await response.json().catch(() => undefined)) as unknown;
  throw new Refused(response.status, told(body) ?? unclear(response.status, path));
}

async function reached(path: string, asked: RequestInit = {}): Promise<Response> {
  try {
    return await fetch(path, { ...asked, headers: { Accept: "application/json", ...asked.headers } });
  } catch {
    throw new Unreachable(
      `The server at ${location.host} does not answer. If it was stopped, start it again with: surefoot ui`,
    );
  }
}

function told(body: unknown): string | null {
  if (typeof body !== "object" || body === null || !("error" in body)) return null;
  return typeof body.error === "string" && body.error ? body.error : null;
}

function unclear(status: number, path: string): string {
  return `The server answered ${status} to ${path}, without saying why. Load the page again; ` +
    "if it stays so, look at what the server printed.";
}
