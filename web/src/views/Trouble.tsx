// When the page cannot be shown: an error in, a sentence out.
export function Trouble({ error }: { error: unknown }) {
  return (
    <main class="trouble">
      <h1>This page cannot be shown</h1>
      <p>{error instanceof Error ? error.message : String(error)}</p>
    </main>
  );
}
