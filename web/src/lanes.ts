// Where the signs of events stand above the map: events and a range in, places out.
import { counted, type Group, groupOf } from "./events";
import type { RunEvent } from "./data";
import type { Range } from "./link";

/** One sign: an event, or several that would cover each other. */
export interface Placed {
  events: RunEvent[];
  group: Group;
  x: number;
  lane: number;
}

const APART = 11; // pixels between two signs of a lane

/** A lane for each group, so that no kind hides another; the close ones are one sign. */
export function placed(events: RunEvent[], [from, to]: Range, [left, right]: Range): { signs: Placed[]; lanes: number } {
  const groups = counted(events).map((one) => one.group);
  const inside = events.filter((event) => event.step >= from && event.step <= to);
  const signs: Placed[] = [];
  const latest = new Map<number, Placed>();
  for (const event of [...inside].sort((a, b) => a.step - b.step)) {
    const group = groupOf(event.kind);
    const lane = groups.indexOf(group);
    const spot = left + ((event.step - from) / (to - from || 1)) * (right - left);
    const x = Math.min(Math.max(spot, left + 6), right - 6);
    const before = latest.get(lane);
    if (before && x - before.x < APART) {
      before.events.push(event);
      continue;
    }
    const sign = { events: [event], group, x, lane };
    signs.push(sign);
    latest.set(lane, sign);
  }
  return { signs: signs.sort((a, b) => a.x - b.x || a.lane - b.lane), lanes: groups.length };
}

/** The sign nearest to a place, if there is one within reach. */
export function signAt(signs: Placed[], x: number, lane: number, reach = 9): number | null {
  let best: number | null = null;
  let least = reach;
  signs.forEach((sign, at) => {
    const far = Math.abs(sign.x - x) + 9 * Math.abs(sign.lane - lane);
    if (far <= least) [best, least] = [at, far];
  });
  return best;
}
