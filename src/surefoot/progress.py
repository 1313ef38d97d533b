"""How far a run is: blocks of a Run come in, a live view goes out to a terminal."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from surefoot.report.deeds import Deed, alike, deed_line, deed_of
from surefoot.report.live import Live, after, live_lines, outstanding, plain_line
from surefoot.report.words import clean
from surefoot.signatures.network import weights
from surefoot.terminal.view import View
from surefoot.types import Diagnosis, Event, Facts, Series

REDRAW_SECONDS = 0.5
MOST_DEEDS = 30
"""Lines about what was done that are kept on the terminal while a run goes on."""


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
        self._deed: Deed | None = None
        self._waiting: list[str] = []
        self._told = 0
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
        """Take an event: what was done to the run is told; findings are by `alarm`."""
        deed = deed_of(event)
        if deed is None:
            return
        with self._lock:
            again = self._deed is not None and alike(self._deed, deed)
            self._deed = deed
            if again:  # one of a row of skipped updates, say
                return
            line = deed_line(deed)
            self._live = replace(self._live, done=(*self._live.done, line))
            self._waiting.append(line)

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
        self._keep_deeds()
        self._view.clear()

    def _tell(self) -> None:
        while not self._done.wait(REDRAW_SECONDS):
            live, manner = self._live, self._view.manner
            self._keep_deeds()
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

    def _keep_deeds(self) -> None:
        """Give each thing that was done a line that stays, up to a number of them."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for line in waiting:
            if self._told == MOST_DEEDS:
                self._view.keep(
                    "surefoot: more is done; all of it is listed at the end"
                )
            elif self._told < MOST_DEEDS:
                self._view.keep(f"surefoot: {line}")
            self._told += 1

    def _weight_matrices(self) -> Mapping[str, tuple[str, ...]]:
        """The weight matrices of each stream, asked for once: they stay the same."""
        for name, recorder in list(self._streams.items()):
            if name not in self._weights:
                self._weights[name] = weights(recorder.facts)
        return self._weights
