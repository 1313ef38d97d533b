// All runs of a folder: a source in, a list that one can sort, filter and choose from out.
import { useMemo, useRef, useState } from "preact/hooks";
import type { RunLine } from "../data";
import { hashOf } from "../route";
import { type Column, isLost, LATEST, matching, type Order, ordered, turned } from "../runs";
import type { Place } from "./App";
import { Masthead } from "./Masthead";
import { RunRow } from "./RunRow";
import { Notice } from "./Trouble";
import { useRuns } from "./useRuns";

export function RunListView({ place }: { place: Place }) {
  const { runs, connection, trouble } = useRuns(place.source);
  return (
    <>
      <Masthead heading="Runs" place={place} connection={connection}>
        <p><code>{place.source.folder}</code></p>
      </Masthead>
      {trouble !== null && <Notice error={trouble} />}
      <main>
        {runs === null && trouble === null && <p class="waiting" aria-busy="true">Reading the folder …</p>}
        {runs?.length === 0 && <Nothing folder={place.source.folder} />}
        {runs !== null && runs.length > 0 && <RunList runs={runs} />}
      </main>
    </>
  );
}

function Nothing({ folder }: { folder: string }) {
  return (
    <div class="empty">
      <h2>No run here yet</h2>
      <p>
        Runs appear as soon as they begin. Start one in another terminal, for example with{" "}
        <code>surefoot run train.py</code>, so that its record comes into <code>{folder}</code>.
      </p>
    </div>
  );
}

function RunList({ runs }: { runs: RunLine[] }) {
  const [text, filter] = useState("");
  const [order, sort] = useState<Order>(LATEST);
  const [chosen, choose] = useState<ReadonlySet<string>>(new Set());
  const shown = useOrder(matching(runs, text), order);
  const pick = (names: string[], on: boolean): void => {
    choose((before) => {
      const next = new Set(before);
      names.forEach((name) => (on ? next.add(name) : next.delete(name)));
      return next;
    });
  };
  const there = runs.filter((line) => chosen.has(line.name)).map((line) => line.name);
  return (
    <section data-view="runs" aria-label="Runs">
      <div class="finder">
        <input
          type="search" value={text} placeholder="Filter by name, state or verdict" aria-label="Filter the runs"
          onInput={(event) => filter(event.currentTarget.value)}
        />
        <p class="count" role="status">{counted(shown.length, runs.length)}</p>
        <Choice names={there} clear={() => choose(new Set())} />
      </div>
      <div class="runs">
        <table>
          <Head order={order} sort={(column) => sort(turned(order, column))}>
            <PickAll lines={shown} chosen={chosen} pick={pick} />
          </Head>
          <tbody>
            {shown.map((line) => (
              <RunRow
                key={line.name} line={line} chosen={chosen.has(line.name)}
                choose={(name, on) => pick([name], on)}
              />
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function counted(shown: number, all: number): string {
  const runs = all === 1 ? "1 run" : `${all} runs`;
  return shown === all ? runs : `${shown} of ${runs}`;
}

/** Lines in an order that holds while values change: rows that one reads stay in place. */
function useOrder(lines: RunLine[], order: Order): RunLine[] {
  const names = lines.map((line) => line.name).sort().join("\n");
  const now = useRef(lines);
  now.current = lines;
  const sorted = useMemo(() => ordered(now.current, order), [names, order]);
  const byName = new Map(lines.map((line) => [line.name, line]));
  return sorted.flatMap((name) => byName.get(name) ?? []);
}

function Choice({ names, clear }: { names: string[]; clear: () => void }) {
  if (!names.length) return <p class="hint">Choose runs to compare them.</p>;
  return (
    <p class="buttons">
      <a class="plain strong" href={hashOf({ view: "compare", runs: names, quantity: "loss" })}>
        Compare {names.length === 1 ? "1 run" : `${names.length} runs`}
      </a>
      <button type="button" class="plain" onClick={clear}>Choose none</button>
    </p>
  );
}

interface PickAllProps {
  lines: RunLine[];
  chosen: ReadonlySet<string>;
  pick: (names: string[], on: boolean) => void;
}

function PickAll({ lines, chosen, pick }: PickAllProps) {
  const names = lines.filter((line) => !isLost(line)).map((line) => line.name);
  const count = names.filter((name) => chosen.has(name)).length;
  return (
    <input
      type="checkbox" aria-label="Choose all that are shown" checked={count > 0 && count === names.length}
      indeterminate={count > 0 && count < names.length}
      onChange={(event) => pick(names, event.currentTarget.checked)}
    />
  );
}

const COLUMNS: [Column | null, string, string][] = [
  ["name", "Run", "name"],
  ["status", "State", "status"],
  ["steps", "Steps", "number"],
  ["last_loss", "Last loss", "number"],
  [null, "Loss", "curve"],
  ["verdict", "Verdict", "told"],
  ["created", "Created", "created"],
];

interface HeadProps {
  order: Order;
  sort: (column: Column) => void;
  children: preact.ComponentChildren;
}

function Head({ order, sort, children }: HeadProps) {
  return (
    <thead>
      <tr>
        <td class="pick">{children}</td>
        {COLUMNS.map(([column, title, kind]) => (
          <th key={title} scope="col" class={kind} aria-sort={column === order.column ? sorted(order) : undefined}>
            {column ? (
              <button type="button" onClick={() => sort(column)}>
                {title}<i aria-hidden="true">{column === order.column ? (order.descending ? "▾" : "▴") : ""}</i>
              </button>
            ) : title}
          </th>
        ))}
      </tr>
    </thead>
  );
}

function sorted(order: Order): "ascending" | "descending" {
  return order.descending ? "descending" : "ascending";
}
