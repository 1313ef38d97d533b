// Dark or light: the reader's choice or the system's in, a theme and its colours out.
import { useEffect, useState } from "preact/hooks";

export type Theme = "light" | "dark";

const DARK = "(prefers-color-scheme: dark)";

/** Whether a media query holds, now and later. */
function useMedia(text: string): boolean {
  const [holds, hold] = useState(() => window.matchMedia(text).matches);
  useEffect(() => {
    const query = window.matchMedia(text);
    const listen = (): void => hold(query.matches);
    query.addEventListener("change", listen);
    return () => query.removeEventListener("change", listen);
  }, [text]);
  return holds;
}

/** The theme in use and a function that flips it; paper is always light. */
export function useTheme(): [Theme, () => void] {
  const [chosen, choose] = useState<Theme | null>(null);
  const preferred: Theme = useMedia(DARK) ? "dark" : "light";
  const theme = useMedia("print") ? "light" : chosen ?? preferred;
  document.documentElement.dataset["theme"] = theme;
  return [theme, () => choose(theme === "dark" ? "light" : "dark")];
}

export interface Palette {
  ink: string;
  soft: string;
  faint: string;
  grid: string;
  paper: string;
  alarm: string;
  /** Of what was done to the training. */
  act: string;
  halo: string;
  edge: string;
  /** The way that training went, over the colours of a map. */
  route: string;
  lines: string[];
}

/** The colours that canvases need, read from the style sheet. */
export function palette(): Palette {
  const style = getComputedStyle(document.documentElement);
  const named = (name: string): string => style.getPropertyValue(name).trim();
  return {
    ink: named("--ink"),
    soft: named("--soft"),
    faint: named("--faint"),
    grid: named("--hairline"),
    paper: named("--card"),
    alarm: named("--alarm"),
    act: named("--link"),
    halo: named("--halo"),
    edge: named("--edge"),
    route: named("--route"),
    lines: ["--line-1", "--line-2", "--line-3", "--line-4", "--line-5", "--line-6"].map(named),
  };
}

/** A colour of the style sheet (#rgb or #rrggbb) at a share of its strength. */
export function faded(colour: string, share: number): string {
  const digits = colour.slice(1);
  const pairs = digits.length === 3 ? Array.from(digits, (digit) => digit + digit) : digits.match(/../g) ?? [];
  const channels = pairs.slice(0, 3).map((pair) => Number.parseInt(pair, 16));
  return `rgb(${channels.join(" ")} / ${Math.round(100 * share)}%)`;
}
