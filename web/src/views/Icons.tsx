// Signs whose shape says what their colour says: a kind in, a drawing out.
import type { Severity } from "../data";

export function SeverityIcon({ kind }: { kind: Severity | "healthy" }) {
  return (
    <svg class={`sign ${kind}`} viewBox="0 0 24 24" aria-hidden="true">
      {kind === "critical" && <path class="plate" d="M8 1.5h8L22.5 8v8L16 22.5H8L1.5 16V8z" />}
      {kind === "warning" && <path class="plate" d="M12 1.8 23 21.6H1z" stroke-linejoin="round" />}
      {(kind === "info" || kind === "healthy") && <circle class="plate" cx="12" cy="12" r="10.5" />}
      {kind === "healthy" ? (
        <path class="stroke" d="m7 12.4 3.4 3.4L17 9" />
      ) : (
        <g class="solid">
          <rect x="10.9" y={kind === "warning" ? 8.4 : 6} width="2.2" height="7.2" rx="1" />
          <circle cx="12" cy={kind === "warning" ? 18.3 : 16.9} r="1.35" />
        </g>
      )}
    </svg>
  );
}

/** A trace that slips and regains its footing. */
export function Mark() {
  return (
    <svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
      <path d="M3 22h6.5l3.2-13 4.4 17 3.6-9.5 2 5.5H29" />
    </svg>
  );
}

export function ThemeIcon({ dark }: { dark: boolean }) {
  return (
    <svg viewBox="0 0 24 24" aria-hidden="true" class="glyph">
      {dark ? (
        <path d="M20 14.5A8.5 8.5 0 1 1 9.5 4a7 7 0 0 0 10.5 10.5z" />
      ) : (
        <g>
          <circle cx="12" cy="12" r="4.4" />
          <path d="M12 2v2.5M12 19.5V22M2 12h2.5M19.5 12H22M5 5l1.7 1.7M17.3 17.3 19 19M19 5l-1.7 1.7M6.7 17.3 5 19" />
        </g>
      )}
    </svg>
  );
}
