// Whether news arrive: the state of the line in, a sign that is also spoken out.
import type { Connection } from "../news";

export function ConnectionSign({ connection }: { connection: Connection | null }) {
  if (!connection) return null;
  return (
    <p class={`line-state ${connection.state}`} role="status" data-view="connection">
      <svg viewBox="0 0 16 16" aria-hidden="true">
        {connection.state === "live" && <circle cx="8" cy="8" r="4.5" />}
        {connection.state === "connecting" && <circle class="ring" cx="8" cy="8" r="4.5" />}
        {connection.state === "lost" && <path class="ring" d="M3.5 3.5l9 9M12.5 3.5l-9 9" />}
      </svg>
      {told(connection)}
    </p>
  );
}

function told(connection: Connection): string {
  if (connection.state === "live") return "live";
  if (connection.state === "connecting") return "connecting";
  const since = new Date(connection.since).toLocaleTimeString("en-GB");
  return `server gone since ${since}, trying again`;
}
