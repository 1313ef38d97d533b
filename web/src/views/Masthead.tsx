// The top of every view: its heading and state in, with the way home and the theme out.
import type { ComponentChildren } from "preact";
import type { Run } from "../data";
import type { Connection } from "../news";
import { status, steps } from "../words";
import type { Place } from "./App";
import { ConnectionSign } from "./ConnectionSign";
import { Mark, ThemeIcon } from "./Icons";

interface Props {
  heading: string;
  place: Place;
  connection: Connection | null;
  children?: ComponentChildren;
}

export function Masthead({ heading, place, connection, children }: Props) {
  const { source, theme, flip } = place;
  const brand = <><Mark />Surefoot</>;
  return (
    <header class="masthead">
      {source.kind === "server"
        ? <a class="brand" href="#/" aria-label="Surefoot, all runs">{brand}</a>
        : <div class="brand">{brand}</div>}
      <div class="run">
        <h1 tabIndex={-1}>{heading}</h1>
        {children}
      </div>
      <ConnectionSign connection={connection} />
      <button
        type="button"
        class="quiet theme"
        onClick={flip}
        aria-label={`Switch to the ${theme === "dark" ? "light" : "dark"} theme`}
      >
        <ThemeIcon dark={theme === "light"} />
      </button>
    </header>
  );
}

/** State, steps and date of a run, below its name. */
export function RunState({ run }: { run: Run }) {
  const state = status(run);
  return (
    <p>
      <span class={`state ${state.kind}${run.status === "running" ? " alive" : ""}`}>{state.label}</span>
      <span>{steps(run.steps)}</span>
      {run.created && <time dateTime={run.created}>{when(run.created)}</time>}
    </p>
  );
}

/** UTC to the minute: the same text on every machine. */
export function when(created: string): string {
  const date = new Date(created);
  if (Number.isNaN(date.getTime())) return created;
  return `${date.toISOString().slice(0, 16).replace("T", " ")} UTC`;
}
