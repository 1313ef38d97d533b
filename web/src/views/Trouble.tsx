// When something cannot be shown: an error in, a sentence out.
import type { Place } from "./App";
import { Masthead } from "./Masthead";

/** In place of the whole page. */
export function Trouble({ error }: { error: unknown }) {
  return (
    <main class="trouble">
      <h1>This page cannot be shown</h1>
      <p>{textOf(error)}</p>
    </main>
  );
}

/** In place of one view; the way to the others stays. */
export function TroubleView({ heading, error, place }: { heading: string; error: unknown; place: Place }) {
  return (
    <>
      <Masthead heading={heading} place={place} connection={null} />
      <main class="trouble" role="alert">
        <h2>This cannot be shown</h2>
        <p>{textOf(error)}</p>
        <p class="buttons">
          <a class="plain" href="#/">All runs</a>
          <button type="button" class="plain" onClick={() => location.reload()}>Try again</button>
        </p>
      </main>
    </>
  );
}

/** Beside what is still shown. */
export function Notice({ error }: { error: unknown }) {
  return <p class="notice" role="alert">{textOf(error)}</p>;
}

export function textOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.charAt(0).toUpperCase() + text.slice(1);
}
