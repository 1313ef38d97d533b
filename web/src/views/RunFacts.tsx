// What does not change over the run: facts in, short tables out.
import type { PageData, StreamData } from "../data";
import { step } from "../format";
import { plain, spaced } from "../words";

export function RunFacts({ data }: { data: PageData }) {
  const command = [data.run.script, ...data.run.argv].join(" ");
  const versions = Object.entries(data.run.versions).map(([name, version]) => `${name} ${version}`);
  return (
    <section aria-labelledby="facts-title" data-view="facts">
      <div class="heading"><h2 id="facts-title">About this run</h2></div>
      <div class="facts">
        <dl>
          {command && <Fact name="Command"><code>{command}</code></Fact>}
          {versions.length > 0 && <Fact name="Versions">{versions.join(", ")}</Fact>}
          {data.run.error && <Fact name="Error"><code>{data.run.error}</code></Fact>}
        </dl>
        {data.streams.map((stream) => <Stream key={stream.name} stream={stream} />)}
      </div>
      {data.left_out.map((text, index) => <p key={index} class="note">{text}</p>)}
    </section>
  );
}

function Fact({ name, children }: { name: string; children: preact.ComponentChildren }) {
  return <div><dt>{name}</dt><dd>{children}</dd></div>;
}

function Stream({ stream }: { stream: StreamData }) {
  const { facts } = stream;
  // What an optimizer does not do is not worth a line.
  const options = Object.entries(facts.options).filter(([, value]) => value !== false);
  return (
    <dl>
      {facts.model && <Fact name="Model">{facts.model}</Fact>}
      {facts.tensors > 0 && (
        <Fact name="Parameters">
          {step(facts.parameters)} in {step(facts.tensors)} tensors
          {facts.trainable < facts.parameters ? `, ${step(facts.trainable)} trainable` : ""}
        </Fact>
      )}
      {facts.optimizer && (
        <Fact name="Optimizer">
          {facts.optimizer}
          {options.length > 0 && <span class="options">{options.map(([key, value]) => `${spaced(key)} ${plain(value)}`).join(", ")}</span>}
        </Fact>
      )}
      {facts.modules.length > 0 && <Fact name="Modules">{step(facts.modules.length)} without children</Fact>}
      {facts.techniques.length > 0 && <Fact name="In use">{facts.techniques.join(", ")}</Fact>}
      {facts.unseen.length > 0 && <Fact name="Not seen">{facts.unseen.join(" ")}</Fact>}
    </dl>
  );
}
