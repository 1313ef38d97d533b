// The chosen map and its chosen layer: a panel (or the wait for it) in, two tracks out.
import { useMemo } from "preact/hooks";
import type { HeatPanel, StreamData } from "../data";
import { unpack } from "../grid";
import { HeatTrack } from "./HeatTrack";
import { LayerTrack } from "./LayerTrack";
import type { Shared } from "./Tracks";
import { type AskPanel, useFiner } from "./useFiner";

interface Props {
  quantity: string;
  /** Null while it is on its way. */
  panel: HeatPanel | null;
  names: string[];
  accused: number[];
  row: number;
  layerIndex: number;
  stream: StreamData;
  shared: Shared;
  ask: AskPanel;
  /** Why there is no panel, in words. */
  refused: string | null;
  select: (row: number) => void;
}

export function MapTracks({ panel, refused, ...rest }: Props) {
  if (panel?.x.length) return <Filled panel={panel} {...rest} />;
  if (!rest.quantity) return null;
  return (
    <p class="waiting" role="status" aria-busy={refused === null}>
      {refused ?? "Reading the map from the record …"}
    </p>
  );
}

type FilledProps = Omit<Props, "panel" | "refused"> & { panel: HeatPanel };

function Filled({ panel, quantity, names, accused, row, layerIndex, stream, shared, ask, select }: FilledProps) {
  const question = { stream: stream.name, name: quantity };
  const fine = useFiner({ panel, rows: names, question }, shared.range, shared.whole[1], ask);
  const grid = useMemo(() => unpack(panel), [panel]);
  const fineGrid = useMemo(() => (fine === panel ? grid : unpack(fine)), [fine, panel, grid]);
  return (
    <>
      <HeatTrack
        quantity={quantity} panel={fine} grid={fineGrid} names={names} accused={accused} row={row}
        shared={shared} select={select}
      />
      <LayerTrack
        quantity={quantity} panel={panel} grid={grid} names={names} row={row} shared={shared}
        details={stream.details} layerIndex={layerIndex} stream={stream.name} ask={ask}
      />
    </>
  );
}
