// Questions that a run asks: what is open in, an answer to the server out.
import { useState } from "preact/hooks";
import type { RunEvent } from "../data";
import { openQuestions } from "../deeds";
import { step } from "../format";
import { sentence } from "../words";

interface Props {
  events: RunEvent[];
  answer: (question: number, word: "yes" | "no") => Promise<void>;
}

export function Asked({ events, answer }: Props) {
  const [sent, send] = useState<ReadonlyMap<number, string>>(new Map());
  const open = openQuestions(events);
  if (!open.length) return null;
  const tell = (number: number, text: string): void => send((before) => new Map(before).set(number, text));
  const say = (number: number, word: "yes" | "no"): void => {
    tell(number, "Sent …");
    answer(number, word).then(
      () => tell(number, `Answered ${word}; the run reads it at its next look.`),
      (error: unknown) => tell(number, error instanceof Error ? error.message : String(error)),
    );
  };
  return (
    <section class="asked" aria-labelledby="asked-title" data-view="asked">
      <h2 id="asked-title">The run asks</h2>
      {open.map((question) => (
        <article key={question.number} class="question">
          <div>
            <p><b>{sentence(question.text)}?</b></p>
            <p class="soft">
              Against {question.why}, since step {step(question.step)}. Without an answer within{" "}
              {step(question.seconds)} s nothing is changed; training goes on meanwhile.
            </p>
          </div>
          {sent.has(question.number)
            ? <p role="status">{sent.get(question.number)}</p>
            : (
              <div class="choice">
                <button type="button" class="yes" onClick={() => say(question.number, "yes")}>Yes, do it</button>
                <button type="button" class="plain" onClick={() => say(question.number, "no")}>No</button>
              </div>
            )}
        </article>
      ))}
    </section>
  );
}
