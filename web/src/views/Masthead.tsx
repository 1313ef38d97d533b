// The top of the page: a run in, its name and state out.
import type { Run } from "../data";
import type { Theme } from "../theme";
import { status, steps } from "../words";
import { Mark, ThemeIcon } from "./Icons";

interface Props {
  run: Run;
  theme: Theme;
  flip: () => void;
}

export function Masthead({ run, theme, flip }: Props) {
  const state = status(run);
  return (
    <header class="masthead">
      <div class="brand"><Mark />Surefoot</div>
      <div class="run">
        <h1>{run.name}</h1>
        <p>
          <span class={`state ${state.kind}`}>{state.label}</span>
          <span>{steps(run.steps)}</span>
          {run.created && <time dateTime={run.created}>{when(run.created)}</time>}
        </p>
      </div>
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

/** UTC to the minute: the same text on every machine. */
function when(created: string): string {
  const date = new Date(created);
  if (Number.isNaN(date.getTime())) return created;
  return `${date.toISOString().slice(0, 16).replace("T", " ")} UTC`;
}
