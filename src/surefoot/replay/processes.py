"""Branches in processes of their own, side by side: tasks come in, Outcomes go out.

Each process gets a file that says what to play, and replaces it with what came of it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from surefoot.record.values import strict
from surefoot.replay.errors import ReplayError
from surefoot.replay.forking import Process
from surefoot.replay.outcome import Outcome, from_json
from surefoot.replay.window import Window
from surefoot.types import Prescription

LOOK_SECONDS = 0.05
"""How often it is seen to which processes have ended: short beside the second that
Python takes to load torch."""

GRACE_SECONDS = 3.0
"""What an interrupted process gets to end by itself."""


@dataclass(slots=True)
class _Started:
    """One branch while its process runs."""

    place: int
    prescription: Prescription
    task: Path
    process: Process
    words: Path


@dataclass(slots=True)
class Processes:
    """Plays branches, `jobs` at a time; after Ctrl-C none is started any more.

    `start(task, words)` starts the process of a task; what it prints goes to `words`.
    """

    start: Callable[[Path, Path], Process]
    jobs: int
    tell: Callable[[int, int, str], None] = lambda done, total, name: None
    total: int = 0
    done: int = 0
    interrupted: bool = False
    _running: list[_Started] = field(default_factory=list[_Started])

    def play(self, window: Window, asked: Sequence[Prescription]) -> list[Outcome]:
        """Play some branches; their outcomes in order.

        Raises:
            ReplayError: the unchanged branch could not be played; the message says why.
            KeyboardInterrupt: before the first two branches were done.
        """
        self.total += len(asked)
        found: dict[int, Outcome] = {}
        with tempfile.TemporaryDirectory(prefix="surefoot-replay-") as folder:
            try:
                self._all(window, asked, Path(folder), found)
            except KeyboardInterrupt:
                self.interrupted = True
                if any(not one.changes for one in asked):
                    raise
            finally:
                self._stop()
        return [
            found.get(k, Outcome(one.remedy, (), ended="interrupted"))
            for k, one in enumerate(asked)
        ]

    def _all(
        self,
        window: Window,
        asked: Sequence[Prescription],
        folder: Path,
        found: dict[int, Outcome],
    ) -> None:
        waiting = list(enumerate(asked))
        while (waiting or self._running) and not self.interrupted:
            while waiting and len(self._running) < self.jobs:
                place, one = waiting.pop(0)
                task = folder / f"{place}.json"
                told = {"window": strict(window), "prescription": strict(one)}
                task.write_text(json.dumps(told), encoding="utf-8")
                self._running.append(self._start(place, one, task))
            for one in [r for r in self._running if r.process.poll() is not None]:
                self._running.remove(one)
                found[one.place] = _outcome(one)
                self.done += 1
                self.tell(self.done, self.total, one.prescription.remedy)
            time.sleep(LOOK_SECONDS)

    def _start(self, place: int, one: Prescription, task: Path) -> _Started:
        words = task.with_suffix(".txt")
        return _Started(place, one, task, self.start(task, words), words)

    def _stop(self) -> None:
        """End what still runs, with all that it started."""
        with undisturbed():
            for one in self._running:
                _signal(one, signal.SIGTERM)
            for one in self._running:
                try:
                    one.process.wait(GRACE_SECONDS)
                except subprocess.TimeoutExpired:
                    _signal(one, signal.SIGKILL)
                    one.process.wait()
            self._running.clear()


@contextmanager
def undisturbed() -> Generator[None]:
    """A second Ctrl-C does not keep the first from ending what was started."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _signal(one: _Started, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(one.process.pid, number)


def _outcome(one: _Started) -> Outcome:
    """What a process that has ended left in its file."""
    told = _told(one.task)
    words = one.words.read_bytes() if one.words.exists() else b""
    last = words[-2000:].decode(errors="replace").strip().splitlines()[-3:]
    if "outcome" in told:
        return from_json(told["outcome"])
    said = told.get("error") or (
        f"its process ended with status {one.process.returncode}: {' | '.join(last)}"
    )
    if not one.prescription.changes or one.prescription.remedy == "no updates":
        raise ReplayError(str(said))
    return Outcome(one.prescription.remedy, (), ended=str(said))


def _told(task: Path) -> Any:
    try:
        told = json.loads(task.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
