// What links the charts: a pointed-at place in, calls to whoever draws it out.
//
// The pointer moves far more often than anything else changes, so it goes past
// the component tree.

export interface Place {
  step: number | null;
  /** Index into PageData.names; null when the pointer is not on a layer. */
  layer: number | null;
}

export class Pointer {
  place: Place = { step: null, layer: null };
  private readonly listeners = new Set<(place: Place) => void>();

  move(step: number | null, layer: number | null = null): void {
    if (step === this.place.step && layer === this.place.layer) return;
    this.place = { step, layer };
    this.listeners.forEach((listener) => listener(this.place));
  }

  follow(listener: (place: Place) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}

/** The steps that all charts of a page show. */
export type Range = [number, number];

export function zoomed(range: Range, factor: number, around: number, whole: Range): Range {
  const width = Math.max((range[1] - range[0]) * factor, 2);
  if (width >= whole[1] - whole[0]) return whole;
  const share = (around - range[0]) / (range[1] - range[0]);
  const low = Math.min(Math.max(around - share * width, whole[0]), whole[1] - width);
  return [low, low + width];
}

export function moved(range: Range, by: number, whole: Range): Range {
  const width = range[1] - range[0];
  const low = Math.min(Math.max(range[0] + by, whole[0]), whole[1] - width);
  return [low, low + width];
}
