"""Questions come in, answers of a person go out; the training does not wait for them.

A question may be answered wherever it is shown: in the terminal, or on the page, which
leaves the answer beside the record. No answer is never a yes.
"""

from __future__ import annotations

import queue
import select
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from surefoot.probes.shield import Shield
from surefoot.record.answers import answers_of

POLL_SECONDS = 0.2
YES, NO = ("y", "yes"), ("n", "no")


@dataclass(frozen=True, slots=True)
class Question:
    """What a person is asked, and for how many seconds."""

    number: int
    text: str
    seconds: float


class Source(Protocol):
    """Where an answer may come from."""

    name: str

    def begin(self, question: Question) -> None:
        """Show the question."""
        ...

    def look(self, question: Question) -> str | None:
        """The answer "yes" or "no", if there is one by now."""
        ...


class Terminal:
    """A person at the keyboard; `say` writes a line above whatever else is shown."""

    name = "terminal"

    def __init__(self, keys: IO[str], say: Callable[[str], None]) -> None:
        self._keys, self._say = keys, say

    def begin(self, question: Question) -> None:
        """Write the question."""
        self._say(
            f"surefoot asks: {question.text} [y/N, {question.seconds:g} s; training "
            "goes on]"
        )

    def look(self, question: Question) -> str | None:
        """The line that was typed; one that is no answer is passed over."""
        ready, _, _ = select.select([self._keys], [], [], 0.0)
        if not ready:
            return None
        word = self._keys.readline().strip().lower()
        if word in YES:
            return "yes"
        return "no" if word in NO else None


class Page:
    """A person at the dashboard, whose answer lies beside the record."""

    name = "page"

    def __init__(self, record: Path) -> None:
        self._record = record

    def begin(self, question: Question) -> None:
        """The event in the record shows it."""

    def look(self, question: Question) -> str | None:
        """The answer that was left."""
        return answers_of(self._record).get(question.number)


class Asker:
    """Asks one question after the other, on a thread of its own, until `close`.

    `answered` is called there with the question, "yes", "no" or "none", and the name
    of the source.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        answered: Callable[[Question, str, str], None],
    ) -> None:
        self._sources, self._answered = sources, answered
        self._questions: queue.SimpleQueue[Question | None] = queue.SimpleQueue()
        self._done = threading.Event()
        self._shield = Shield(lambda name, error: None)
        self._thread = threading.Thread(
            target=self._work, name="surefoot asks", daemon=True
        )
        self._thread.start()

    def ask(self, question: Question) -> None:
        """Ask, when those before it are answered."""
        self._questions.put(question)

    def close(self) -> None:
        """Ask no more; a question that is open stays without an answer."""
        self._done.set()
        self._questions.put(None)
        self._thread.join()

    def _work(self) -> None:
        while not self._done.is_set():
            question = self._questions.get()
            if question is not None:
                self._shield.run("questions", lambda q=question: self._put(q))

    def _put(self, question: Question) -> None:
        """Ask one question."""
        for source in self._sources:
            self._shield.run(source.name, lambda s=source: s.begin(question))
        end = time.monotonic() + question.seconds
        while time.monotonic() < end and not self._done.is_set():
            for source in self._sources:
                word = self._shield.run(source.name, lambda s=source: s.look(question))
                if word is not None:
                    self._answered(question, word, source.name)
                    return
            self._done.wait(POLL_SECONDS)
        self._answered(question, "none", "")
