"""Alarms come in from any thread, incident files go out, one at once."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from surefoot.blackbox.incident import ENDING, Incident, write_incident
from surefoot.blackbox.state import State
from surefoot.probes.shield import Shield
from surefoot.types import RUN, Event


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something went wrong: what, since which update, where."""

    reason: str
    onset: int
    layers: tuple[str, ...] = ()
    stream: str = ""


def accused(layer: str) -> tuple[str, ...]:
    """The layers that an alarm names; the whole run is none.

    >>> accused("fc1"), accused("run")
    (('fc1',), ())
    """
    return () if layer in ("", *RUN) else (layer,)


class Dispatch:
    """Writes incidents on a thread of its own, a few in a run.

    `make` builds the incident of an alarm on the training thread, `busy` is told that
    its state is read, `free` that it is no more.
    """

    def __init__(
        self,
        stem: Path,
        most: int,
        *,
        tell: Callable[[Event], None],
        shield: Shield,
        hold: Callable[[State, bool], None],
    ) -> None:
        self.written: list[Path] = []
        self._stem = stem
        self._most = most
        self._tell = tell
        self._shield = shield
        self._hold = hold
        self._asked: deque[Alarm] = deque()
        self._begun = 0
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> bool:
        """Whether an alarm waits that can be answered now."""
        writing = self._thread is not None and self._thread.is_alive()
        return bool(self._asked) and not writing and self._begun < self._most

    def ask(self, alarm: Alarm) -> None:
        """An alarm; any thread may call."""
        self._asked.append(alarm)

    def answer(self, make: Callable[[Alarm], Incident | None]) -> None:
        """Begin to write the incident of the oldest alarm, if one waits."""
        if not self.waiting:
            return
        made = make(self._asked.popleft())
        if made is None:
            return
        self._begun += 1
        self._hold(made.state, True)
        name = f"incident {self._begun}"
        number = f"-{self._begun}" if self._begun > 1 else ""
        path = self._stem.with_name(f"{self._stem.name}{number}{ENDING}")
        self._thread = threading.Thread(
            target=lambda: self._shield.run(name, lambda: self._write(made, path)),
            name="surefoot incident",
        )
        self._thread.start()

    def finish(self, make: Callable[[Alarm], Incident | None]) -> None:
        """Write all that waits; the caller waits for it."""
        self.join()
        while self.waiting:
            self.answer(make)
            self.join()

    def join(self) -> None:
        """Until the file that is being written is there."""
        if self._thread is not None:
            self._thread.join()

    def _write(self, made: Incident, path: Path) -> None:
        start = time.perf_counter()
        try:
            write_incident(made, path)
        finally:
            self._hold(made.state, False)
        self.written.append(path)
        body = {
            "path": str(path),
            "reason": made.reason,
            "onset": made.onset,
            "state_step": made.state.step,
            "layers": list(made.layers),
            "bytes": path.stat().st_size,
            "seconds": round(time.perf_counter() - start, 3),
        }
        self._tell(Event(made.step, "incident", body))
