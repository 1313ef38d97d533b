// The list of runs: lines, news, a filter and a sort order in, the lines to show out.
import type { ListNews, RunLine, Severity } from "./data";
import { place, sentence } from "./words";

/** The list with its news; `whole` where the news tell of every run there is. */
export function updated(held: RunLine[], news: ListNews, whole: boolean): RunLine[] {
  const told = new Map(news.runs.map((line) => [line.name, line]));
  const gone = new Set(news.gone);
  const kept = held.flatMap((line) => {
    const fresh = told.get(line.name);
    told.delete(line.name);
    if (gone.has(line.name) || (whole && !fresh)) return [];
    return [fresh && JSON.stringify(fresh) !== JSON.stringify(line) ? fresh : line];
  });
  return [...kept, ...told.values()];
}

export type Column = "name" | "status" | "steps" | "last_loss" | "verdict" | "created";

export interface Order {
  column: Column;
  descending: boolean;
}

export const LATEST: Order = { column: "created", descending: true };

/** A click on a column's head: its own direction first, then the other one. */
export function turned(order: Order, column: Column): Order {
  if (order.column === column) return { column, descending: !order.descending };
  return { column, descending: column === "steps" || column === "created" || column === "verdict" };
}

/** The names in order; what has no value comes last either way. */
export function ordered(lines: RunLine[], order: Order): string[] {
  const sign = order.descending ? -1 : 1;
  return [...lines]
    .sort((a, b) => {
      const [left, right] = [sortKey(a, order.column), sortKey(b, order.column)];
      if (left === null || right === null) return Number(left === null) - Number(right === null) || byName(a, b);
      if (left === right) return byName(a, b);
      return (left < right ? -1 : 1) * sign;
    })
    .map((line) => line.name);
}

function byName(a: RunLine, b: RunLine): number {
  return a.name < b.name ? -1 : 1;
}

const WEIGHT: Record<Severity, number> = { critical: 3, warning: 2, info: 1 };

function sortKey(line: RunLine, column: Column): string | number | null {
  if (column === "last_loss") return typeof line.last_loss === "number" ? line.last_loss : null;
  if (column === "verdict") return line.verdict ? WEIGHT[line.verdict.severity] + line.verdict.confidence : 0;
  if (column === "steps") return line.steps;
  return line[column] || null;
}

/** Lines in which every word is found: in the name, the state or the verdict. */
export function matching(lines: RunLine[], text: string): RunLine[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return lines.filter((line) => {
    const told = `${line.name} ${line.status} ${verdictText(line)}`.toLowerCase();
    return words.every((word) => told.includes(word));
  });
}

/** Whether nothing of a record can be read; of a damaged one the rest is shown. */
export function isLost(line: RunLine): boolean {
  return line.status === "unreadable";
}

/** The verdict on a run in one line. */
export function verdictText(line: RunLine): string {
  if (isLost(line)) return line.trouble ?? "unreadable";
  const { verdict, judged } = line;
  if (verdict) return `${sentence(verdict.cause)} in ${place(verdict.layer)}`;
  if (judged.state === "pending") return line.status === "running" ? "not looked at yet" : "being examined";
  if (judged.state === "failed") return judged.text || "could not be examined";
  return judged.state === "so_far" ? "nothing wrong so far" : "nothing wrong found";
}
