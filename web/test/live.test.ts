import { describe, expect, it, vi } from "vitest";
import type { LinePanel, PageData, PanelAnswer, RunNews, VerdictAnswer } from "../src/data";
import { LiveRun, type RunState } from "../src/live";
import { Refused } from "../src/server";
import type { PanelQuestion, Source } from "../src/source";
import { diagnosis, heat, line, packed, page, streamOf } from "./data";

/** A server whose run has so many steps, and what it was asked for. */
class Server {
  steps = 100;
  found = [] as PageData["diagnoses"];
  asked: PanelQuestion[] = [];
  hear: (news: RunNews) => void = () => undefined;
  refusal: string | null = null;

  line(question: PanelQuestion): LinePanel {
    const width = question.width ?? 1;
    const x: number[] = [];
    for (let step = question.start ?? 0; step < this.steps; step += width) x.push(step);
    return line({ x, width, low: [x.map((step) => step)], high: null });
  }

  page(): PageData {
    return page({
      run: { ...page().run, steps: this.steps, status: "running" },
      judged: { state: "so_far", steps: this.steps, text: "" }, diagnoses: this.found,
      names: ["net.0.weight"],
      streams: [streamOf({
        offers: [{ name: "loss", title: "Loss", kind: "line" }, { name: "grad_norm", title: "Gradient norm", kind: "heatmap" }],
        panels: { loss: this.line({ stream: "main", name: "loss" }) },
      })],
    });
  }

  source(): Source {
    const never = (): Promise<never> => Promise.reject(new Error("not asked for here"));
    return {
      kind: "server", folder: "", held: null, runs: never, compare: never, field: never, answer: never,
      page: () => Promise.resolve(this.page()),
      panel: (_, question): Promise<PanelAnswer> => {
        this.asked.push(question);
        if (this.refusal) return Promise.reject(new Refused(404, this.refusal));
        const map = heat({ x: [0], y: [0, 1], cells: packed([[0], [0]]) });
        return Promise.resolve({
          names: ["net.2.weight", "net.0.weight"], panel: question.name === "loss" ? this.line(question) : map,
        });
      },
      verdict: (_, from): Promise<VerdictAnswer> => Promise.resolve({
        run: this.page().run, judged: this.page().judged, diagnoses: this.found, verdicts: [], events: [], events_from: from,
      }),
      followRuns: () => () => undefined,
      followRun: (_, hearer) => { this.hear = hearer.news; return () => undefined; },
      reportAddress: () => "",
    };
  }

  tell(over: Partial<RunNews> = {}): void {
    this.hear({
      status: "running", steps: this.steps, events: 0, judged: this.page().judged, verdict: String(this.found.length), ...over,
    });
  }
}

const LOSS = { stream: "main", name: "loss" };
const MAP = { stream: "main", name: "grad_norm" };

async function opened(server: Server): Promise<{ live: LiveRun; states: RunState[]; last: () => RunState }> {
  const states: RunState[] = [];
  const live = new LiveRun(server.source(), "net", (state) => states.push(state));
  live.open();
  await vi.waitFor(() => expect(states.at(-1)?.data).toBeTruthy());
  return { live, states, last: () => states.at(-1) as RunState };
}

const steps = (state: RunState): number[] => state.data?.streams[0]?.panels["loss"]?.x ?? [];

describe("a run that is followed", () => {
  it("asks for what follows what it holds, and misses nothing", async () => {
    const server = new Server();
    const { live, last } = await opened(server);
    live.look([LOSS]);
    server.steps = 130;
    server.tell();
    await vi.waitFor(() => expect(steps(last())).toHaveLength(130));
    expect(server.asked).toEqual([{ ...LOSS, start: 99, width: 1 }]);
    server.steps = 190;
    server.tell();
    await vi.waitFor(() => expect(steps(last())).toEqual(Array.from({ length: 190 }, (_, at) => at)));
  });
  it("asks for nothing where nothing happened", async () => {
    const server = new Server();
    const { live, last } = await opened(server);
    live.look([LOSS]);
    server.tell({ judged: { state: "so_far", steps: 77, text: "" } });
    await vi.waitFor(() => expect(last().data?.judged.steps).toBe(77));
    expect(server.asked).toEqual([]);
  });
  it("fetches a map when it is looked at, under names that stay", async () => {
    const server = new Server();
    const { live, last } = await opened(server);
    live.look([MAP]);
    await vi.waitFor(() => expect(last().data?.streams[0]?.panels["grad_norm"]).toBeTruthy());
    expect(server.asked[0]).toMatchObject({ ...MAP, points: 800 });
    expect(last().data?.names).toEqual(["net.0.weight", "net.2.weight"]);
    expect(last().data?.streams[0]?.panels["grad_norm"]?.y).toEqual([1, 0]);
  });
  it("says why a map cannot be had, and asks once", async () => {
    const server = new Server();
    const { live, last } = await opened(server);
    server.refusal = "there is no such panel";
    live.look([MAP]);
    await vi.waitFor(() => expect([...last().refused.values()]).toEqual(["there is no such panel"]));
    live.look([MAP]);
    await live.refresh();
    expect(server.asked).toHaveLength(1);
  });
  it("raises an alarm for what is newly found, and only for that", async () => {
    const server = new Server();
    server.found = [diagnosis()];
    const { last } = await opened(server);
    expect(last().alarms).toEqual([]);
    server.found = [diagnosis(), diagnosis({ cause: "loss_spike", layer: "run" })];
    server.tell();
    await vi.waitFor(() => expect(last().alarms.map((one) => one.cause)).toEqual(["loss_spike"]));
    expect(last().data?.diagnoses).toHaveLength(2);
  });
  it("begins anew where the run did", async () => {
    const server = new Server();
    const { live, last } = await opened(server);
    live.look([LOSS]);
    server.steps = 3;
    server.tell();
    await vi.waitFor(() => expect(steps(last())).toEqual([0, 1, 2]));
  });
});
