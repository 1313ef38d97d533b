// One run of the list: its line in, a table row out.
import type { RunLine } from "../data";
import { number, step } from "../format";
import { hashOf } from "../route";
import { isLost, verdictText } from "../runs";
import { status } from "../words";
import { SeverityIcon } from "./Icons";
import { when } from "./Masthead";
import { Spark } from "./Spark";

interface Props {
  line: RunLine;
  chosen: boolean;
  choose: (name: string, chosen: boolean) => void;
}

export function RunRow({ line, chosen, choose }: Props) {
  const { name, trouble } = line;
  const lost = isLost(line);
  return (
    <tr class={`${chosen ? "chosen" : ""} ${trouble ? "broken" : ""}`}>
      <td class="pick">
        <input
          type="checkbox" checked={chosen} disabled={lost} aria-label={`Choose ${name}`}
          onChange={(event) => choose(name, event.currentTarget.checked)}
        />
      </td>
      <th scope="row">
        {lost ? <span>{name}</span> : <a href={hashOf({ view: "run", name })}>{name}</a>}
      </th>
      <td class="status"><State line={line} /></td>
      <td class="number" data-label="Steps">{lost ? "" : step(line.steps)}</td>
      <td class="number" data-label="Last loss">{line.last_loss === null ? "" : number(line.last_loss)}</td>
      <td class="curve"><Spark values={line.spark} /></td>
      <td class="told"><Said line={line} /></td>
      <td class="created">{line.created && <time dateTime={line.created}>{when(line.created)}</time>}</td>
    </tr>
  );
}

function State({ line }: { line: RunLine }) {
  if (isLost(line)) return <span class="state alert">unreadable</span>;
  const state = status(line);
  return <span class={`state ${state.kind}${line.status === "running" ? " alive" : ""}`}>{state.label}</span>;
}

function Said({ line }: { line: RunLine }) {
  if (isLost(line)) return <p>{line.trouble}</p>;
  return (
    <>
      <Told line={line} />
      {line.trouble !== null && <p class="soft">{line.trouble}</p>}
    </>
  );
}

function Told({ line }: { line: RunLine }) {
  const { verdict, judged } = line;
  const text = verdictText(line);
  if (!verdict) {
    const healthy = judged.state === "final" || judged.state === "so_far";
    return (
      <p class={healthy ? "case healthy" : "soft"}>
        {healthy && <SeverityIcon kind="healthy" />}
        <span>{text}</span>
      </p>
    );
  }
  return (
    <p class={`case ${verdict.severity}`}>
      <SeverityIcon kind={verdict.severity} />
      <span>
        <span class="cause">{text}</span>{" "}
        <span class="soft">since step {step(verdict.onset)}{verdict.more > 0 ? `, and ${verdict.more} more` : ""}</span>
      </span>
    </p>
  );
}
