// Where nothing is known: outlines in, hatching on a canvas out.
import type { Palette } from "./theme";

const GAP = 6; // pixels between two lines

type Outline = (readonly [number, number])[];

/** Hatches the outlines (CSS pixels), so that what has no number looks like nothing else. */
export function hatch(context: CanvasRenderingContext2D, outlines: Outline[], colours: Palette): void {
  const all = outlines.flat();
  if (!all.length) return;
  const [left, right] = [Math.min(...all.map(([x]) => x)), Math.max(...all.map(([x]) => x))];
  const [top, bottom] = [Math.min(...all.map(([, y]) => y)), Math.max(...all.map(([, y]) => y))];
  context.save();
  context.beginPath();
  for (const outline of outlines) {
    outline.forEach(([x, y], at) => (at ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.closePath();
  }
  context.fillStyle = colours.grid;
  context.fill();
  context.clip();
  context.beginPath();
  // On a raster of its own, so that neighbours join.
  const first = Math.floor((left + top) / GAP) * GAP;
  for (let sum = first; sum <= right + bottom; sum += GAP) {
    context.moveTo(sum - top, top);
    context.lineTo(sum - bottom, bottom);
  }
  context.strokeStyle = colours.faint;
  context.lineWidth = 1;
  context.stroke();
  context.restore();
}
