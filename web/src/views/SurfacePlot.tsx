// A surface that one can turn: heights in, a picture that follows hand and keys out.
import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { canvasOf } from "../canvas";
import { FRONT, Painter, type Scene, turned, type View } from "../surface";
import { palette, type Theme } from "../theme";
import { useWidth } from "./useWidth";

interface Props {
  /** The same object until something else is to be seen. */
  scene: Scene;
  ticks: { at: number; label: string }[];
  theme: Theme;
  label: string;
}

const STEP = Math.PI / 36;
const TURN = 0.0085; // radians a pixel
const RESTING = 140; // milliseconds

export function SurfacePlot({ scene, ticks, theme, label }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const width = useWidth(box);
  const height = Math.round(Math.min(Math.max(width * 0.78, 240), 430));
  const [view, look] = useState<View>(FRONT);
  const colours = useMemo(() => palette(), [theme]);
  const painter = useRef<Painter | null>(null);
  useLayoutEffect(() => {
    painter.current ??= new Painter();
    const draw = (fineness: number): void => {
      const context = canvasOf(canvas.current, width, height);
      if (!context || width < 40) return;
      painter.current?.draw(context, scene, view, { width, height, colours, ticks, fineness });
    };
    if (window.matchMedia("print").matches) draw(2);
    // One drawing a frame, however fast the hand moves; a smooth one once it rests.
    const frame = requestAnimationFrame(() => draw(1));
    const rest = setTimeout(() => draw(2), RESTING);
    return () => { cancelAnimationFrame(frame); clearTimeout(rest); };
  }, [scene, view, width, height, colours, ticks]);
  const drag = useDrag(look);
  const onKeyDown = (event: KeyboardEvent): void => {
    const next = keyed(event, view);
    if (!next) return;
    event.preventDefault();
    look(next);
  };
  return (
    <div class="surface" ref={box}>
      <canvas
        ref={canvas} tabIndex={0} role="img" aria-roledescription="rotatable surface" aria-label={label}
        onKeyDown={onKeyDown} onDblClick={() => look(FRONT)} {...drag}
      />
      <p class="surface-keys">
        <span class="hint">Drag or use the arrow keys to turn it.</span>
        <button type="button" class="plain" aria-label="Zoom in" onClick={() => look(turned(view, { zoom: 1.2 }))}>+</button>
        <button type="button" class="plain" aria-label="Zoom out" onClick={() => look(turned(view, { zoom: 1 / 1.2 }))}>−</button>
        <button type="button" class="plain" onClick={() => look(FRONT)}>Put back</button>
      </p>
    </div>
  );
}

function useDrag(look: (change: (view: View) => View) => void) {
  const from = useRef<{ x: number; y: number } | null>(null);
  const release = (): void => { from.current = null; };
  return {
    onPointerDown: (event: PointerEvent) => {
      from.current = { x: event.clientX, y: event.clientY };
      (event.currentTarget as HTMLElement).setPointerCapture(event.pointerId);
    },
    onPointerMove: (event: PointerEvent) => {
      const start = from.current;
      if (!start) return;
      from.current = { x: event.clientX, y: event.clientY };
      look((view) => turned(view, { turn: (start.x - event.clientX) * TURN, tilt: (event.clientY - start.y) * TURN }));
    },
    onPointerUp: release,
    onPointerCancel: release,
  };
}

/** The view after a key; null for keys that mean nothing here. */
export function keyed(event: Pick<KeyboardEvent, "key" | "shiftKey">, view: View): View | null {
  const by = event.shiftKey ? 3 * STEP : STEP;
  switch (event.key) {
    case "ArrowLeft": return turned(view, { turn: by });
    case "ArrowRight": return turned(view, { turn: -by });
    case "ArrowUp": return turned(view, { tilt: by });
    case "ArrowDown": return turned(view, { tilt: -by });
    case "+": case "=": return turned(view, { zoom: 1.2 });
    case "-": return turned(view, { zoom: 1 / 1.2 });
    case "0": case "Escape": return FRONT;
    default: return null;
  }
}
