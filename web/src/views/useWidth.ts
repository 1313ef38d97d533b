// How wide an element is: an element in, CSS pixels out, again on each change.
import { useLayoutEffect, useState } from "preact/hooks";
import type { RefObject } from "preact";

export function useWidth(element: RefObject<HTMLElement>): number {
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    const watched = element.current;
    if (!watched) return undefined;
    const measure = (): void => setWidth(Math.floor(watched.getBoundingClientRect().width));
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(watched);
    // Observers do not run before a page is printed; this does.
    const paper = window.matchMedia("print");
    paper.addEventListener("change", measure);
    return () => { observer.disconnect(); paper.removeEventListener("change", measure); };
  }, [element]);
  return width;
}

export const AXIS = 52;
export const NARROW = 560;
