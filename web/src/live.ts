// One run, kept up to date while it trains: a source in, states of its page out.
//
// News says that something changed; what changed is then fetched and put to what is
// held, all of it in one state, shown at the next frame of the screen. Only what is
// looked at is followed. Whatever was missed comes with the next news, because each
// question begins where what is held ends.
import { LAYER_POINTS, LINE_POINTS, MAP_COLUMNS, tailStart } from "./bins";
import type { Diagnosis, PageData, PanelAnswer, RunNews } from "./data";
import type { Connection } from "./news";
import { heldPanel, keyOf, newlyFound, type Wish, withPage, withPanel, withVerdict } from "./patch";
import { Refused } from "./server";
import type { PanelQuestion, Source } from "./source";

export interface RunState {
  data: PageData | null;
  /** Why there is nothing to show, or nothing new. */
  trouble: Error | null;
  connection: Connection | null;
  /** What was found while one looked on, the latest first. */
  alarms: Diagnosis[];
  /** Why a panel that was asked for is not there, by keyOf its wish. */
  refused: ReadonlyMap<string, string>;
}

export const NOTHING: RunState = {
  data: null, trouble: null, connection: null, alarms: [], refused: new Map(),
};

/** What is there before anything is asked: all of a report, nothing of a server. */
export function startOf(source: Source): RunState {
  return { ...NOTHING, data: source.held };
}

/** New quantities, fields and batches come with the page itself, so often at most. */
const RELOAD_MS = 30_000;

export class LiveRun {
  private state: RunState;
  private news: RunNews | null = null;
  private wishes: Wish[] = [];
  /** Steps that the run had when each panel was asked for. */
  private readonly asked = new Map<string, number>();
  private loaded = { steps: -1, at: 0 };
  private told = { verdict: "", events: -1 };
  private busy = false;
  private again = false;
  private drawing = false;
  private stop: () => void = () => undefined;
  private closed = false;

  constructor(
    private readonly source: Source,
    private readonly name: string,
    private readonly show: (state: RunState) => void,
  ) {
    this.state = startOf(source);
  }

  open(): void {
    if (this.source.kind === "report") return; // it holds all there is
    this.stop = this.source.followRun(this.name, {
      news: (news) => {
        this.news = news;
        void this.refresh();
      },
      connection: (connection) => {
        this.set({ connection });
        if (connection.state === "lost") void this.probe();
      },
    });
    void this.refresh();
  }

  close(): void {
    this.closed = true;
    this.stop();
  }

  /** What is looked at now; replaces what was before. */
  look(wishes: Wish[]): void {
    this.wishes = wishes;
    if (this.state.data && this.source.kind === "server") void this.refresh();
  }

  dismiss(): void {
    this.set({ alarms: [] });
  }

  /** Catches up; what arrives meanwhile leads to one more round. */
  async refresh(): Promise<void> {
    this.again = true;
    if (this.busy) return;
    this.busy = true;
    while (this.again && !this.closed) {
      this.again = false;
      await this.catchUp().then(
        (data) => this.set({ data, trouble: null }),
        (error: unknown) => this.set({ trouble: error instanceof Error ? error : new Error(String(error)) }),
      );
    }
    this.busy = false;
  }

  /** Everything that is wished for and new, put to what is held. */
  private async catchUp(): Promise<PageData> {
    const news = this.news;
    const held = this.state.data;
    let data = held && !this.mustReload(held, news) ? held : await this.page(held);
    const steps = Math.max(news?.steps ?? 0, data.run.steps);
    const current = data;
    const wanted = this.wishes.filter((wish) => this.isStale(current, wish, steps));
    const words = news && (news.verdict !== this.told.verdict || news.events !== this.told.events)
      ? this.source.verdict(this.name, data.events.length)
      : null;
    const answers = await Promise.all(wanted.map((wish) => this.ask(current, wish, steps)));
    for (const { wish, answer, tail } of answers) {
      data = withPanel(data, wish, answer, tail);
      this.asked.set(keyOf(wish), steps);
    }
    if (words && news) {
      data = withVerdict(data, await words);
      this.told = { verdict: news.verdict, events: news.events };
    }
    if (news) data = { ...data, run: { ...data.run, status: news.status, steps }, judged: news.judged };
    if (held) this.raise(held, data);
    return data;
  }

  private mustReload(data: PageData, news: RunNews | null): boolean {
    if (!news) return false;
    if (news.status !== data.run.status || news.steps < data.run.steps) return true;
    if (news.steps === this.loaded.steps) return false;
    return news.steps >= 2 * this.loaded.steps || Date.now() - this.loaded.at > RELOAD_MS;
  }

  private async page(held: PageData | null): Promise<PageData> {
    const page = await this.source.page(this.name);
    const ended = held !== null && held.run.status !== page.run.status;
    const anew = held !== null && page.run.steps < held.run.steps;
    if (ended || anew) this.asked.clear();
    this.loaded = { steps: page.run.steps, at: Date.now() };
    this.told = { verdict: "", events: page.events.length };
    for (const stream of page.streams) {
      Object.keys(stream.panels).forEach((name) =>
        this.asked.set(keyOf({ stream: stream.name, name }), page.run.steps));
    }
    return held && !anew ? withPage(held, page) : page;
  }

  private isStale(data: PageData, wish: Wish, steps: number): boolean {
    if (this.state.refused.has(keyOf(wish)) && this.asked.get(keyOf(wish)) === steps) return false;
    if (!heldPanel(data, wish)) return true;
    return (this.asked.get(keyOf(wish)) ?? -1) < steps;
  }

  private async ask(
    data: PageData, wish: Wish, steps: number,
  ): Promise<{ wish: Wish; answer: PanelAnswer; tail: boolean }> {
    const [question, tail] = this.question(data, wish, steps);
    try {
      const answer = await this.source.panel(this.name, question);
      if (!tail) this.refuse(wish, answer.panel ? null : "There is no reading of it yet.");
      return { wish, answer, tail };
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.refuse(wish, error.message);
      return { wish, answer: { names: [], panel: null }, tail };
    }
  }

  /** For all of a panel, or for what follows what is held of it. */
  private question(data: PageData, wish: Wish, steps: number): [PanelQuestion, boolean] {
    const held = heldPanel(data, wish);
    const stream = data.streams.find((one) => one.name === wish.stream);
    const offer = stream?.offers.find((one) => one.name === wish.name);
    const kind = held?.kind ?? offer?.kind;
    const points = wish.layer !== undefined ? LAYER_POINTS : kind === "line" ? LINE_POINTS : MAP_COLUMNS;
    if (!held?.x.length) return [{ ...wish, points }, false];
    const start = tailStart(held);
    if ((steps - start) / held.width > 2 * points) return [{ ...wish, points }, false];
    return [{ ...wish, start, width: held.width }, true];
  }

  private refuse(wish: Wish, why: string | null): void {
    if ((this.state.refused.get(keyOf(wish)) ?? null) === why) return;
    const refused = new Map(this.state.refused);
    if (why === null) refused.delete(keyOf(wish));
    else refused.set(keyOf(wish), why);
    this.set({ refused });
  }

  /** An alarm for what a running training is newly found to suffer from. */
  private raise(before: PageData, after: PageData): void {
    if (before.run.status !== "running" || before.judged.state === "pending") return;
    const found = newlyFound(before.diagnoses, after.diagnoses);
    if (found.length) this.set({ alarms: [...found, ...this.state.alarms] });
  }

  /** Whether it is the run that is gone and not the server: the line cannot tell. */
  private async probe(): Promise<void> {
    await this.source.verdict(this.name, 0).catch((error: unknown) => {
      if (error instanceof Refused) this.set({ trouble: error });
    });
  }

  /** All changes between two frames are drawn as one. */
  private set(change: Partial<RunState>): void {
    if (this.closed) return;
    this.state = { ...this.state, ...change };
    if (this.drawing) return;
    this.drawing = true;
    const draw = (): void => {
      this.drawing = false;
      if (!this.closed) this.show(this.state);
    };
    if (document.hidden) window.setTimeout(draw); // a hidden page has no frames
    else window.requestAnimationFrame(draw);
  }
}
