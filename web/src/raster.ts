// Triangles to pixels: corners with depth, height and light in, colours and depths out.
//
// A plain canvas has no depth. Sixty by sixty cells are 7,200 triangles, which a loop
// over pixels fills in a few milliseconds; as many paths take the canvas eighty.
import { viridis } from "./colours";

export interface Pixels {
  width: number;
  height: number;
  /** Red, green, blue, alpha in the order of ImageData; 0 where nothing is. */
  colours: Uint32Array;
  /** How near what one sees there is; -Infinity where nothing is. */
  depths: Float32Array;
}

/** One number a vertex; NaN heights are holes. */
export interface Mesh {
  columns: number;
  x: Float32Array;
  y: Float32Array;
  depth: Float32Array;
  /** 0 to 1: the colour. */
  height: Float32Array;
  /** 0 to 1: from shade to full light. */
  light: Float32Array;
}

const SHADES = 256;
const LIGHTS = 64;
const DARKEST = 0.58;
const BRIGHTEST = 1.14;

/** Colours by height and light: [height * LIGHTS + light]. */
export const COLOURS: Uint32Array = Uint32Array.from({ length: SHADES * LIGHTS }, (_, at) => {
  const light = DARKEST + ((BRIGHTEST - DARKEST) * (at % LIGHTS)) / (LIGHTS - 1);
  const [red, green, blue] = viridis(Math.floor(at / LIGHTS) / (SHADES - 1)).map((channel) =>
    Math.round(light <= 1 ? channel * light : channel + (255 - channel) * (light - 1)));
  return ((255 << 24) | ((blue ?? 0) << 16) | ((green ?? 0) << 8) | (red ?? 0)) >>> 0;
});

export function empty(width: number, height: number): Pixels {
  return {
    width, height, colours: new Uint32Array(width * height),
    depths: new Float32Array(width * height).fill(-Infinity),
  };
}

export function clear(pixels: Pixels): void {
  pixels.colours.fill(0);
  pixels.depths.fill(-Infinity);
}

export function fill(pixels: Pixels, mesh: Mesh): void {
  const rows = Math.floor(mesh.x.length / mesh.columns);
  for (let row = 0; row + 1 < rows; row++) {
    for (let column = 0; column + 1 < mesh.columns; column++) {
      const a = row * mesh.columns + column;
      const d = a + mesh.columns;
      triangle(pixels, mesh, a, [a + 1, d]);
      triangle(pixels, mesh, d + 1, [a + 1, d]);
    }
  }
}

/** Everything changes evenly over a triangle: so much a pixel to the right, so much down. */
function triangle(pixels: Pixels, mesh: Mesh, a: number, [b, c]: [number, number]): void {
  const { x, y, depth, height, light } = mesh;
  const ax = x[a] as number, ay = y[a] as number;
  const bx = (x[b] as number) - ax, by = (y[b] as number) - ay;
  const cx = (x[c] as number) - ax, cy = (y[c] as number) - ay;
  const area = bx * cy - cx * by;
  const h0 = height[a] as number, h1 = (height[b] as number) - h0, h2 = (height[c] as number) - h0;
  if (!(Math.abs(area) > 1e-9) || Number.isNaN(h0 + h1 + h2)) return;
  const d0 = depth[a] as number, d1 = (depth[b] as number) - d0, d2 = (depth[c] as number) - d0;
  const l0 = light[a] as number, l1 = (light[b] as number) - l0, l2 = (light[c] as number) - l0;
  const top = Math.max(Math.ceil(ay + Math.min(0, by, cy) - 0.5), 0);
  const bottom = Math.min(Math.floor(ay + Math.max(0, by, cy) - 0.5), pixels.height - 1);
  const dhx = (h1 * cy - h2 * by) / area, dhy = (h2 * bx - h1 * cx) / area;
  const ddx = (d1 * cy - d2 * by) / area, ddy = (d2 * bx - d1 * cx) / area;
  const dlx = (l1 * cy - l2 * by) / area, dly = (l2 * bx - l1 * cx) / area;
  for (let line = top; line <= bottom; line++) {
    const v = line + 0.5 - ay;
    let left = Infinity, right = -Infinity;
    // Where the three sides cross this line of pixels.
    if (v >= 0 === v <= by && by !== 0) { const s = (v / by) * bx; left = Math.min(left, s); right = Math.max(right, s); }
    if (v >= 0 === v <= cy && cy !== 0) { const s = (v / cy) * cx; left = Math.min(left, s); right = Math.max(right, s); }
    if (v >= by === v <= cy && cy !== by) {
      const s = bx + ((v - by) / (cy - by)) * (cx - bx); left = Math.min(left, s); right = Math.max(right, s);
    }
    const from = Math.max(Math.ceil(ax + left - 0.5), 0);
    const to = Math.min(Math.floor(ax + right - 0.5), pixels.width - 1);
    let u = from + 0.5 - ax;
    let h = h0 + dhx * u + dhy * v, d = d0 + ddx * u + ddy * v, l = l0 + dlx * u + dly * v;
    for (let at = line * pixels.width + from; u <= right; at++, u++, h += dhx, d += ddx, l += dlx) {
      if (at > line * pixels.width + to) break;
      if (d <= (pixels.depths[at] as number)) continue;
      pixels.depths[at] = d;
      const shade = h < 0 ? 0 : h > 1 ? SHADES - 1 : (h * (SHADES - 1) + 0.5) | 0;
      const lit = l < 0 ? 0 : l > 1 ? LIGHTS - 1 : (l * (LIGHTS - 1) + 0.5) | 0;
      pixels.colours[at] = COLOURS[shade * LIGHTS + lit] as number;
    }
  }
}

/** Whether something at this place and depth is seen: nothing nearer is there. */
export function seen(pixels: Pixels, [x, y]: readonly [number, number], depth: number): boolean {
  const [column, row] = [Math.floor(x), Math.floor(y)];
  if (column < 0 || row < 0 || column >= pixels.width || row >= pixels.height) return true;
  return depth >= (pixels.depths[row * pixels.width + column] ?? -Infinity);
}
