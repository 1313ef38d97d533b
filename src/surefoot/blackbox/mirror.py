"""States and updates come in, files that survive the process go out; and an Incident.

Each file is whole or absent. States go to the folder as the ring takes them, updates in
blocks a few times a second, so that a killed process loses the last few steps.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from surefoot.blackbox.checks import IncidentError
from surefoot.blackbox.incident import (
    Incident,
    StepRecord,
    read_state,
    read_steps,
    write_state,
    write_steps,
)
from surefoot.blackbox.log import Update
from surefoot.blackbox.state import State
from surefoot.probes.shield import Shield

SECONDS = 0.25
"""Updates that came within a quarter of a second share a file."""

NAMED = re.compile(r"(?:state-(\d{12})|steps-(\d{12})-(\d{12}))\.safetensors")


class Mirror:
    """Writes what the black box holds to a folder, on a thread of its own.

    A state that comes while another is being written is left out: the disk decides how
    often.
    """

    def __init__(
        self, folder: Path, *, shield: Shield, hold: Callable[[State, bool], None]
    ) -> None:
        self.folder = folder
        self.next_step = 0
        self._shield = shield
        self._hold = hold
        self._lock = threading.Lock()
        self._state: State | None = None
        self._about: dict[str, Any] = {}
        self._oldest = 0
        self._updates: list[Update] = []
        self._done = threading.Event()
        self._thread = threading.Thread(
            target=self._work, name="surefoot black box", daemon=True
        )
        self._thread.start()

    def state(self, state: State, kept: Sequence[State], about: dict[str, Any]) -> None:
        """The ring took a state; what is older than all that it keeps can go."""
        with self._lock:
            self._oldest = kept[0].step
            if self._state is None:
                self._hold(state, True)
                self._state, self._about = state, about

    def updates(self, updates: Sequence[Update]) -> None:
        """Updates to which nothing more comes."""
        if updates:
            self.next_step = updates[-1].step + 1
            with self._lock:
                self._updates += updates

    def close(self, *, keep: bool) -> None:
        """End; the files go unless they are kept."""
        self._done.set()
        self._thread.join()
        if not keep:
            for path in _ours(self.folder):
                path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self.folder.rmdir()

    def _work(self) -> None:
        while not self._done.wait(SECONDS):
            self._shield.run("black box on disk", self._write)
        self._shield.run("black box on disk", self._write)

    def _write(self) -> None:
        with self._lock:
            state, updates, self._updates = self._state, self._updates, []
        if updates:
            name = f"steps-{updates[0].step:012d}-{updates[-1].step:012d}.safetensors"
            write_steps([one.record() for one in updates], self.folder / name)
        if state is not None:
            try:
                name = f"state-{state.step:012d}.safetensors"
                write_state(state, self._about, self.folder / name)
            finally:
                self._hold(state, False)
                with self._lock:
                    self._state = None
            self._prune()

    def _prune(self) -> None:
        """Delete what belongs to states that the ring let go of."""
        states = sorted(p for p in _ours(self.folder) if p.name.startswith("state"))
        old = [p for p in states if _steps(p)[0] < self._oldest]
        # The newest that is whole stays, whatever its age.
        for path in [p for p in old if p != states[-1]]:
            path.unlink(missing_ok=True)
        first = min((_steps(p)[0] for p in states if p.exists()), default=0)
        for path in _ours(self.folder):
            if path.name.startswith("steps") and _steps(path)[1] < first:
                path.unlink(missing_ok=True)


def recover(folder: str | Path) -> Incident:
    """An incident from what a killed run left in its folder.

    It begins with the oldest state since which no update is missing.

    Raises:
        IncidentError: there is no state that can be read.
    """
    place = Path(folder)
    paths = _ours(place)
    states = sorted(path for path in paths if path.name.startswith("state"))
    if not states:
        raise IncidentError(
            f"{place} holds no state of a black box; expected the folder of a run that "
            "was watched with a black box that persists"
        )
    blocks = sorted(path for path in paths if path.name.startswith("steps"))
    records = {one.step: one for path in blocks for one in _readable(path)}
    trouble = ""
    for path in states:
        try:
            state, about = read_state(path)
        except IncidentError as error:
            trouble = str(error)
            continue
        steps = _following(state.step, records)
        whole = not records or (steps and steps[-1].step == max(records))
        if whole or path == states[-1]:
            step = steps[-1].step + 1 if steps else state.step
            reason = "the process ended without a word"
            return Incident(about, reason, step, step, (), state, tuple(steps))
    raise IncidentError(f"{place} holds no state that can be read: {trouble}")


def _readable(path: Path) -> list[StepRecord]:
    """The updates of a block; none where it is damaged."""
    with contextlib.suppress(IncidentError):
        return read_steps(path)
    return []


def _following(first: int, records: dict[int, StepRecord]) -> list[StepRecord]:
    """The records from a step on, until one is missing."""
    found: list[StepRecord] = []
    while first + len(found) in records:
        found.append(records[first + len(found)])
    return found


def _ours(folder: Path) -> list[Path]:
    """Files that the black box wrote."""
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if NAMED.fullmatch(path.name)]


def _steps(path: Path) -> tuple[int, int]:
    """First and last step in a file, by its name."""
    numbers = [int(one) for one in re.findall(r"\d{12}", path.name)]
    return numbers[0], numbers[-1]
