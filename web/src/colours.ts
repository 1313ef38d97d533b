// Colour of a number: a share from 0 to 1 in, red, green and blue out.
//
// Viridis (van der Walt and Smith, 2015): perceptually uniform, readable with
// every common colour blindness and in grey. Twenty anchors, linear between.
const ANCHORS = [
  "440154", "481567", "482677", "453781", "404788", "39568c", "33638d", "2d708e",
  "287d8e", "238a8d", "1f968b", "20a387", "29af7f", "3cbb75", "55c667", "73d055",
  "95d840", "b8de29", "dce319", "fde725",
].map((hex) => [0, 2, 4].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)));

export type Rgb = [number, number, number];

export function viridis(share: number): Rgb {
  const at = Math.min(Math.max(share, 0), 1) * (ANCHORS.length - 1);
  const index = Math.min(Math.floor(at), ANCHORS.length - 2);
  const from = ANCHORS[index] ?? [0, 0, 0];
  const to = ANCHORS[index + 1] ?? from;
  const mix = at - index;
  const channel = (which: number): number =>
    Math.round((from[which] ?? 0) * (1 - mix) + (to[which] ?? 0) * mix);
  return [channel(0), channel(1), channel(2)];
}

/** Exactly zero on a logarithmic map, and overflow: off the scale, hence off the map. */
export const ZERO_RGB: Rgb = [16, 12, 24];
export const INFINITE_RGB: Rgb = [255, 84, 48];

export function css([red, green, blue]: Rgb): string {
  return `rgb(${red} ${green} ${blue})`;
}

export function gradient(stops = 12): string {
  const parts = Array.from({ length: stops }, (_, index) => css(viridis(index / (stops - 1))));
  return `linear-gradient(to right, ${parts.join(", ")})`;
}
