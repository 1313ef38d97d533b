// How close the updates are to overshooting: recorded lines in, charts out.
import { useMemo } from "preact/hooks";
import type { LinePanel, StreamData } from "../data";
import { step } from "../format";
import { beyond, curvature, EDGE, type Tracked, tracked } from "../sharpness";
import { LineTrack } from "./LineTrack";
import type { Shared } from "./Tracks";

interface Props {
  sharpness: LinePanel;
  /** The learning rate, if it was recorded. */
  rate: LinePanel | null;
  shared: Shared;
  axis?: boolean;
}

const EDGES = [{ value: EDGE, label: "2: edge of stability" }];

export function Sharpness({ sharpness, rate, shared, axis = false }: Props) {
  const relative = useMemo(() => ({ ...sharpness, log: positive(sharpness), y: ["curvature × length"] }), [sharpness]);
  const own = useMemo(() => (rate ? curvature(sharpness, rate) : null), [sharpness, rate]);
  const count = useMemo(() => beyond(sharpness), [sharpness]);
  return (
    <>
      <LineTrack
        name="sharpness" panel={relative} shared={shared} height={110} levels={EDGES} sparse
        axis={axis && !own} title="Curvature the optimizer felt"
      />
      {own && (
        <LineTrack name="curvature" panel={own.panel} shared={shared} height={110} sparse axis={axis} title="The same and its edge" />
      )}
      <p class="track-note">
        Along the updates, with the batches as they came: not the largest curvature there is. An update overshoots
        where the curvature along it exceeds 2 / learning rate, an edge that moves with the
        schedule: {told(count)}.{own && own.negative > 0 ? ` ${negative(own.negative)}` : ""}
      </p>
    </>
  );
}

function positive(panel: LinePanel): boolean {
  return (panel.low[0] ?? []).every((value) => value === null || value > 0);
}

function told({ beyond: count, of }: { beyond: number; of: number }): string {
  if (count === 0) return `none of ${step(of)} readings lies beyond it`;
  return `${step(count)} of ${step(of)} readings ${count === 1 ? "lies" : "lie"} beyond it`;
}

function negative(count: number): string {
  return `${count === 1 ? "One reading is" : `${step(count)} readings are`} not positive (the loss curves downwards there) and not drawn on the logarithmic scale.`;
}

/** The largest eigenvalue of the Hessian beside the line of the optimizer, where it was tracked. */
export function TrackedSharpness({ panels, shared, axis }: { panels: StreamData["panels"]; shared: Shared; axis: boolean }) {
  const found = useMemo(() => tracked(panels), [panels]);
  const faint = useMemo(() => new Set(found && found.band !== null ? [found.band] : []), [found]);
  return found && (
    <>
      <LineTrack name="tracked" panel={found.panel} shared={shared} height={130} sparse axis={axis} faint={faint} title="Sharpness" />
      <p class="track-note">
        The largest eigenvalue of the Hessian{found.scaled ? ", plain and in the scale of the optimizer" : ""}, on rows
        that stay the same. {lineTold(found)}{bandTold(found)}
      </p>
    </>
  );
}

function lineTold({ count, scaled }: Tracked): string {
  if (!count) return "The line at which this optimizer becomes unstable is not known. ";
  const what = scaled ? "the scaled one" : "it";
  const beyondIt = count.beyond === 0 ? "none" : step(count.beyond);
  return `Where ${what} lies beyond the line, which moves with the learning rate, steps grow along the sharpest direction: ${beyondIt} of ${step(count.of)} readings. `;
}

function bandTold({ sampling }: Tracked): string {
  return sampling === null ? "" : `The band: other rows may give ${Math.max(1, Math.round(100 * sampling))} % more or less.`;
}
