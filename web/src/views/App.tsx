// The whole page: where its data comes from in, the view that the address names out.
import { useEffect, useRef } from "preact/hooks";
import { hashOf, titleOf, useRoute } from "../route";
import type { Source } from "../source";
import { type Theme, useTheme } from "../theme";
import { ComparisonView } from "./ComparisonView";
import { RunListView } from "./RunListView";
import { RunView } from "./RunView";

/** What every view is given. */
export interface Place {
  source: Source;
  theme: Theme;
  flip: () => void;
}

export function App({ source }: { source: Source }) {
  const [theme, flip] = useTheme();
  const place: Place = { source, theme, flip };
  if (source.kind === "report") return <RunView name="" place={place} />;
  return <Routed place={place} />;
}

function Routed({ place }: { place: Place }) {
  const route = useRoute();
  const came = useRef(false);
  useEffect(() => {
    document.title = titleOf(route);
    // Whoever follows a link is told where it led; whoever opens the page is not moved.
    if (came.current) document.querySelector<HTMLElement>("h1")?.focus();
    came.current = true;
  }, [hashOf(route)]);
  if (route.view === "run") return <RunView key={route.name} name={route.name} place={place} />;
  if (route.view === "compare") return <ComparisonView runs={route.runs} quantity={route.quantity} place={place} />;
  return <RunListView place={place} />;
}
