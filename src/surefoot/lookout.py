"""The lookout: a growing record comes in, each new diagnosis goes out once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from surefoot.diagnosis.examine import examine
from surefoot.probes.shield import Shield
from surefoot.record.reader import RecordReader
from surefoot.record.writer import RecordWriter
from surefoot.types import Diagnosis, Event

SECONDS = 3.0
REST = 100.0
"""It rests a hundred times as long as it worked: 1 % of one core at most."""


class Lookout:
    """Diagnoses a record while it is written, on a thread of its own.

    Reads through the same reader as everybody else. A condition is spoken of once,
    when it is confirmed or has damaged the run; it is recorded as an event.
    """

    def __init__(
        self, writer: RecordWriter, speak: Callable[[Diagnosis], None]
    ) -> None:
        self._writer = writer
        self._speak = speak
        self._told: set[tuple[str, str]] = set()
        self._shield = Shield(lambda name, error: None)
        self._done = threading.Event()
        self._thread = threading.Thread(
            target=self._watch, name="surefoot lookout", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the thread; a look under way is finished first."""
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        wait = SECONDS
        while not self._done.wait(wait):
            start = time.thread_time()
            self._shield.run("lookout", self._look)
            wait = max(SECONDS, REST * (time.thread_time() - start))

    def _look(self) -> None:
        """One look at the record."""
        with RecordReader(self._writer.path) as reader:
            found = examine(reader)
        for rank, diagnosis in enumerate(found):
            key = (diagnosis.stream, diagnosis.cause)
            damaged = any(one.severity == "critical" for one in diagnosis.findings)
            sure = diagnosis.confirmed or (rank == 0 and damaged)
            if key in self._told or not sure:
                continue
            self._told.add(key)
            body = {
                "cause": diagnosis.cause,
                "layer": diagnosis.layer,
                "onset": diagnosis.onset,
                "confidence": diagnosis.confidence,
            }
            event = Event(diagnosis.onset, "finding", body, diagnosis.stream)
            self._writer.event(event)
            self._speak(diagnosis)
