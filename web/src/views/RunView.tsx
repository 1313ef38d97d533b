// One run from its source: a name in, its page once the data is here out.
import type { Place } from "./App";
import { Masthead } from "./Masthead";
import { RunPage } from "./RunPage";
import { Trouble, TroubleView } from "./Trouble";
import { useRun } from "./useRun";

export function RunView({ name, place }: { name: string; place: Place }) {
  const opened = useRun(place.source, name);
  if (opened.data) return <RunPage data={opened.data} opened={opened} place={place} />;
  if (opened.trouble && place.source.kind === "report") return <Trouble error={opened.trouble} />;
  if (opened.trouble) return <TroubleView heading={name} error={opened.trouble} place={place} />;
  return (
    <>
      <Masthead heading={name} place={place} connection={opened.connection} />
      <main aria-busy="true"><p class="waiting">Reading the record …</p></main>
    </>
  );
}
