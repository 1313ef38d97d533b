import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Connection, listen, PAUSES, UNSEEN } from "../src/news";

/** Stands in for the browser's own, which needs a server. */
class Line {
  onopen: () => void = () => undefined;
  onerror: () => void = () => undefined;
  closed = false;
  hear: (message: { data: string }) => void = () => undefined;
  addEventListener(_: string, hear: (message: { data: string }) => void): void { this.hear = hear; }
  close(): void { this.closed = true; }
}

let lines: Line[];
let told: unknown[];
let states: Connection["state"][];
const make = (): EventSource => {
  lines.push(new Line());
  return lines[lines.length - 1] as unknown as EventSource;
};
let end: () => void;
const start = (): (() => void) => end = listen("/api/news", "runs", {
  news: (news) => told.push(news), connection: (line) => states.push(line.state),
}, make);

beforeEach(() => { vi.useFakeTimers(); lines = []; told = []; states = []; });
afterEach(() => { end(); vi.useRealTimers(); });

describe("news", () => {
  it("are told as they come", () => {
    start();
    lines[0]?.onopen();
    lines[0]?.hear({ data: '{"runs":[]}' });
    expect([states, told]).toEqual([["connecting", "live"], [{ runs: [] }]]);
  });
  it("are listened for again after a break, and that is said once", () => {
    start();
    lines[0]?.onopen();
    lines[0]?.onerror();
    expect(lines[0]?.closed).toBe(true);
    vi.advanceTimersByTime(PAUSES[0] ?? 0);
    lines[1]?.onerror();
    vi.advanceTimersByTime(PAUSES[1] ?? 0);
    lines[2]?.onopen();
    expect(states).toEqual(["connecting", "live", "lost", "live"]);
  });
  it("are tried for without end, at most every two seconds", () => {
    start();
    for (let round = 0; round < 20; round++) {
      lines[round]?.onerror();
      vi.advanceTimersByTime(2_000);
    }
    expect(lines).toHaveLength(21);
  });
  it("end when nobody listens any more", () => {
    const stop = start();
    lines[0]?.onerror();
    stop();
    vi.advanceTimersByTime(60_000);
    expect(lines).toHaveLength(1);
  });
  it("rest in a page that nobody sees, and come again when it is seen", () => {
    const stop = start();
    const show = (hidden: boolean): void => {
      vi.spyOn(document, "hidden", "get").mockReturnValue(hidden);
      document.dispatchEvent(new Event("visibilitychange"));
    };
    lines[0]?.onopen();
    show(true);
    show(false);
    vi.advanceTimersByTime(UNSEEN);
    expect([lines.length, lines[0]?.closed]).toEqual([1, false]);
    show(true);
    vi.advanceTimersByTime(UNSEEN);
    expect([lines.length, lines[0]?.closed]).toEqual([1, true]);
    show(false);
    expect(lines).toHaveLength(2);
    stop();
    show(false);
    expect(lines).toHaveLength(2);
    vi.restoreAllMocks();
  });
});
