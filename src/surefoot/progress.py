"""How far a run is: blocks of a Run come in, a live view goes out to a terminal."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from surefoot.report.live import Live, after, live_lines, outstanding, plain_line
from surefoot.report.words import clean
from surefoot.signatures.network import weights
from surefoot.terminal.view import View
from surefoot.types import Diagnosis, Event, Facts, Series

REDRAW_SECONDS = 0.5


class Described(Protocol):
    """A recorder, or whatever else knows what is constant over a stream."""

    @property
    def facts(self) -> Facts: ...  # noqa: D102


class Progress:
    """Says how far a run is, from a thread of its own, until it is closed.

    A `Sink` that the training thread may call at once: a block is only folded into
    what is known. `streams` are the recorders of the run, which may become more.
    """

    def __init__(self, view: View, name: str, streams: Mapping[str, Described]) -> None:
        self._view = view
        self._live = Live(name)
        self._streams = streams
        self._weights: dict[str, tuple[str, ...]] = {}
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._thread = threading.Thread(
            target=self._tell, name="surefoot progress", daemon=True
        )
        self._thread.start()

    def write(self, series: Series) -> None:
        """Take a block of readings."""
        with self._lock:
            self._live = after(self._live, series)

    def event(self, event: Event) -> None:
        """Events are told by `alarm`, when they are new to a person."""

    def alarm(self, diagnosis: Diagnosis) -> None:
        """Say one alarm on a line of its own."""
        told = (
            f"{diagnosis.cause} in {diagnosis.layer} since step "
            f"{diagnosis.onset} ({diagnosis.confidence:.0%} sure)"
        )
        with self._lock:
            self._live = replace(self._live, alarms=(*self._live.alarms, told))
        self._view.keep(f"surefoot: {clean(told)}")

    def close(self) -> None:
        """Stop; the view is wiped."""
        self._done.set()
        self._thread.join()
        self._view.clear()

    def _tell(self) -> None:
        while not self._done.wait(REDRAW_SECONDS):
            live, manner = self._live, self._view.manner
            if live.step < 0:
                continue
            self._view.show(
                live_lines(
                    live,
                    width=self._view.width,
                    standing=outstanding(live, self._weight_matrices()),
                    colour=manner.colour,
                    ascii_only=manner.ascii_only,
                ),
                plain_line(live, width=self._view.width, ascii_only=manner.ascii_only),
            )

    def _weight_matrices(self) -> Mapping[str, tuple[str, ...]]:
        """The weight matrices of each stream, asked for once: they stay the same."""
        for name, recorder in list(self._streams.items()):
            if name not in self._weights:
                self._weights[name] = weights(recorder.facts)
        return self._weights
