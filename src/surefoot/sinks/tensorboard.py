"""A run's readings come in, TensorBoard event files go out; needs tensorboard."""

from __future__ import annotations

import time
from pathlib import Path

from surefoot.record.event_files import EventFile
from surefoot.report.live import alarm_text
from surefoot.sinks.scalars import Scalars
from surefoot.types import Event, Series

FOLDER = "runs"
"""Where TensorBoard users expect them (the default of torch's SummaryWriter)."""
FLUSH_SECONDS = 5.0


class TensorBoardSink:
    """Writes one folder of event files; alarms are texts.

    Opened with the first reading, so that a folder which cannot be written switches
    the sink off, and nothing else.
    """

    def __init__(self, folder: str | Path, *, scalars: Scalars | None = None) -> None:
        self._folder = Path(folder)
        self._scalars = scalars or Scalars()
        self._file: EventFile | None = None
        self._flushed = time.monotonic()

    def write(self, series: Series) -> None:
        """Write a block of readings."""
        file, now = self._opened(), time.time()
        for step, values in self._scalars.rows(series):
            file.scalars(step, values, seconds=now)
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._flushed = time.monotonic()
            file.flush()

    def event(self, event: Event) -> None:
        """Write an alarm; other events stay in the record."""
        if event.kind == "finding":
            file, text = self._opened(), alarm_text(event)
            file.text(event.step, "surefoot/alarms", text, seconds=time.time())
            file.flush()

    def close(self) -> None:
        """Write what is left."""
        if self._file is not None:
            self._file.close()

    def _opened(self) -> EventFile:
        if self._file is None:
            self._file = EventFile(self._folder)
        return self._file


def opened(run: str, place: str) -> TensorBoardSink:
    """The sink of a run: a folder of its name below `place`, or below "runs"."""
    return TensorBoardSink(Path(place or FOLDER) / run)
