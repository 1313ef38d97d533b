// Dark or light: the reader's choice or the system's in, a theme and its colours out.
import { useEffect, useState } from "preact/hooks";

export type Theme = "light" | "dark";

const DARK = "(prefers-color-scheme: dark)";

function system(): Theme {
  return window.matchMedia(DARK).matches ? "dark" : "light";
}

/** The theme in use and a function that flips it; the choice lasts for the visit. */
export function useTheme(): [Theme, () => void] {
  const [chosen, choose] = useState<Theme | null>(null);
  const [preferred, prefer] = useState<Theme>(system);
  useEffect(() => {
    const query = window.matchMedia(DARK);
    const listen = (): void => prefer(system());
    query.addEventListener("change", listen);
    return () => query.removeEventListener("change", listen);
  }, []);
  const theme = chosen ?? preferred;
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
    lines: ["--line-1", "--line-2", "--line-3", "--line-4", "--line-5", "--line-6"].map(named),
  };
}
