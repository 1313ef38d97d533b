"""A record comes in, the little that a list and the news need of it goes out.

One glance is kept for each record and taken again only when its files changed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from surefoot.dashboard.library import Library, Mark, UnknownRunError, mark_of
from surefoot.diagnosis.stored import KEY, Stored, steps_of, stored_in
from surefoot.record import liveness
from surefoot.record.folder import last_loss
from surefoot.record.reader import RecordReader
from surefoot.record.schema import RecordError
from surefoot.report.packing import Json, numbers, shortened

SPARK_POINTS = 60
"""Bins of a sparkline, which is some 120 pixels wide."""

UNREADABLE = "unreadable"
"""Status of a run of which nothing can be read."""

ODD = (
    RecordError, OSError, ValueError, TypeError, LookupError, AttributeError,
    ArithmeticError, RecursionError,
)  # fmt: skip
"""What reading a file can raise that has a record's form and odd contents: a row
whose checksum is right may still hold a text where a number belongs."""


@dataclass(frozen=True, slots=True)
class Glance:
    """What one look at a record tells.

    `ended` is how the run said that it ended, None if it did not; `writer` signs for
    the process that writes. `spark` holds the lows and highs of the loss.
    """

    created: str = ""
    ended: str | None = None
    writer: Mapping[str, Any] = field(default_factory=dict[str, Any])
    steps: int = 0
    events: int = 0
    last_loss: float | None = None
    spark: Mapping[str, Json] | None = None
    stored: Stored | None = None
    trouble: str | None = None

    def status(self) -> str:
        """How the run is now: a process may have ended without a word since."""
        if self.ended is not None:
            return self.ended
        return "running" if liveness.lives(self.writer) else "killed"


@dataclass(frozen=True, slots=True)
class _Taken:
    mark: Mark
    settled: bool
    glance: Glance


class Glances:
    """The newest glance at each record of a library; safe in several threads."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._taken: dict[Path, _Taken] = {}
        self._lock = threading.Lock()

    def at(self, path: Path) -> tuple[Mark, Glance]:
        """The glance at a record as it is now, and the mark that it bears.

        Raises:
            UnknownRunError: it is gone.
        """
        mark, now = mark_of(path), time.time_ns()
        with self._lock:
            last = self._taken.get(path)
        if last is not None and last.mark == mark and last.settled:
            return mark, last.glance
        taken = _Taken(mark, mark.settled(now), self._look(path))
        with self._lock:
            self._taken[path] = taken
        return mark, taken.glance

    def forget(self, there: Mapping[str, Path]) -> None:
        """Let go of glances at records that are gone."""
        paths = set(there.values())
        with self._lock:
            for path in self._taken.keys() - paths:
                del self._taken[path]

    def _look(self, path: Path) -> Glance:
        try:
            with self._library.reading(path) as reader:
                return glance(reader)
        except UnknownRunError:
            raise
        except ODD as error:
            return Glance(ended=UNREADABLE, trouble=shortened(trouble_of(error)))


def glance(reader: RecordReader) -> Glance:
    """One look at a record.

    Raises:
        RecordError: it cannot be read.
    """
    meta = reader.meta
    status = reader.status()
    writer = meta.get("writer")
    found = Glance(
        created=shortened(str(meta.get("created", ""))),
        ended=None if status in ("running", "killed") else status,
        writer=cast(Mapping[str, Any], writer) if isinstance(writer, Mapping) else {},
        steps=steps_of(reader),
        events=len(reader.events()),
        stored=stored_in(meta.get(KEY)),
    )
    found = _with_loss(found, reader)
    trouble = reader.damage or meta.get("trouble")
    return replace(found, trouble=shortened(str(trouble)) if trouble else None)


def trouble_of(error: BaseException) -> str:
    """What is wrong with a file that made a reader raise, for people."""
    if isinstance(error, RecordError):
        return str(error)
    return (
        f"the record holds something unexpected ({type(error).__name__}: {error}); "
        "expected what a run of surefoot writes; see what is left of it with: "
        "surefoot export"
    )


def _with_loss(found: Glance, reader: RecordReader) -> Glance:
    """The glance with the loss of the first stream that has one."""
    stream = next((one for one in reader.streams() if reader.has("loss", one)), None)
    if stream is None:
        return found
    rolled = reader.overview("loss", stream, points=SPARK_POINTS).rollup
    if not rolled.low.size:
        return found
    spark = {"low": numbers(rolled.low[:, 0]), "high": numbers(rolled.high[:, 0])}
    return replace(found, last_loss=last_loss(reader, stream), spark=spark)
