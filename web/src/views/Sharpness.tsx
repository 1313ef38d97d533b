// How close the updates are to overshooting: two recorded lines in, two charts out.
import { useMemo } from "preact/hooks";
import type { LinePanel } from "../data";
import { step } from "../format";
import { beyond, curvature, EDGE } from "../sharpness";
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
        axis={axis && !own} title="Sharpness along the update"
      />
      {own && (
        <LineTrack name="curvature" panel={own.panel} shared={shared} height={110} sparse axis={axis} title="Curvature and its edge" />
      )}
      <p class="track-note">
        An update overshoots where the curvature along it exceeds 2 / learning rate, an edge that moves with the
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
