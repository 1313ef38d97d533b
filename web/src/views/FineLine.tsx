// A line track that asks for more detail where one zooms in: a panel in, a chart out.
import type { LinePanel } from "../data";
import type { PanelQuestion } from "../source";
import { LineTrack } from "./LineTrack";
import type { Shared } from "./Tracks";
import { type AskPanel, useFiner } from "./useFiner";

interface Props {
  name: string;
  panel: LinePanel;
  shared: Shared;
  height: number;
  axis?: boolean;
  title?: preact.ComponentChildren;
  question: PanelQuestion;
  ask: AskPanel;
}

const NO_ROWS: string[] = [];

export function FineLine({ panel, question, ask, ...rest }: Props) {
  const { range, whole } = rest.shared;
  const fine = useFiner({ panel, rows: NO_ROWS, question }, range, whole[1], ask);
  return <LineTrack {...rest} panel={fine} />;
}
