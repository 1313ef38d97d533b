"""The lookout: a growing record comes in, each new diagnosis goes out once.

What it found stands in the record too, so that whoever opens the record while the run
goes on, or long after, need not examine it again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from surefoot.diagnosis.examine import examine
from surefoot.diagnosis.extent import left_out
from surefoot.diagnosis.stored import KEY, steps_of, to_store
from surefoot.probes.shield import Shield
from surefoot.record.reader import RecordReader
from surefoot.record.writer import RecordWriter
from surefoot.types import Diagnosis, Event

SECONDS = 3.0
REST = 100.0
"""It rests a hundred times as long as it worked: 1 % of one core at most."""

LAST_LOOK_BYTES = 200_000_000
"""A record of more than this, some 5e7 readings of four bytes, gets no last look:
that would hold up the end of the script for seconds. Whoever opens it examines it."""


class Lookout:
    """Diagnoses a record while it is written, on a thread of its own.

    Reads through the same reader as everybody else. A condition is spoken of once,
    when it is confirmed or has damaged the run; `tell` takes it as an event.
    """

    def __init__(
        self,
        writer: RecordWriter,
        speak: Callable[[Diagnosis], None],
        *,
        tell: Callable[[Event], None],
    ) -> None:
        self._writer = writer
        self._speak = speak
        self._tell_event = tell
        self._told: set[tuple[str, str]] = set()
        self._seen = (-1, 0)
        self._shield = Shield(lambda name, error: None)
        self._done = threading.Event()
        self._thread = threading.Thread(
            target=self._watch, name="surefoot lookout", daemon=True
        )
        self._thread.start()

    def stop(self) -> list[Diagnosis]:
        """End the thread, and look once more at all that was recorded.

        A look under way is finished first. There is no last look at a record that is
        so large that it would keep the script waiting. What it is sure of by then, and
        did not speak of, goes out.
        """
        self._done.set()
        self._thread.join()
        return self._shield.run("lookout", self._last_look) or []

    def _watch(self) -> None:
        wait = SECONDS
        while not self._done.wait(wait):
            start = time.thread_time()
            self._shield.run("lookout", self._look)
            wait = max(SECONDS, REST * (time.thread_time() - start))

    def _look(self) -> None:
        """One look at the record, if it grew since the one before; speaks."""
        for rank, diagnosis in enumerate(self._found()):
            self._tell(diagnosis, rank)

    def _last_look(self) -> list[Diagnosis]:
        """One look at what was recorded since, without a word.

        Who ended the run is told all of it from the diagnosis that is stored here.
        """
        small = self._writer.path.stat().st_size <= LAST_LOOK_BYTES
        found = self._found() if self._writer.flush() and small else []
        return [one for rank, one in enumerate(found) if self._is_news(one, rank)]

    def _found(self) -> list[Diagnosis]:
        """What is wrong by now, stored in the record; nothing if it did not grow."""
        with RecordReader(self._writer.path) as reader:
            # Counted first: what comes while we examine may not have been looked at.
            steps = steps_of(reader)
            grown = (steps, len(reader.events()))
            if grown == self._seen:
                return []
            found, note = examine(reader), left_out(reader)
        self._seen = grown
        self._writer.put_meta(KEY, to_store(found, steps, note))
        return found

    def _tell(self, diagnosis: Diagnosis, rank: int) -> None:
        """Speak of a diagnosis, if it is sure enough and was not spoken of yet."""
        if not self._is_news(diagnosis, rank):
            return
        self._told.add((diagnosis.stream, diagnosis.cause))
        body = {
            "cause": diagnosis.cause,
            "layer": diagnosis.layer,
            "onset": diagnosis.onset,
            "confidence": diagnosis.confidence,
        }
        event = Event(diagnosis.onset, "finding", body, diagnosis.stream)
        self._tell_event(event)
        self._speak(diagnosis)

    def _is_news(self, diagnosis: Diagnosis, rank: int) -> bool:
        """Whether a diagnosis is sure enough, and was not spoken of yet."""
        damaged = any(one.severity == "critical" for one in diagnosis.findings)
        sure = diagnosis.confirmed or (rank == 0 and damaged)
        return sure and (diagnosis.stream, diagnosis.cause) not in self._told
