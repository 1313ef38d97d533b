"""Records come in, their diagnoses go out later: one process at a time, at ease.

A record that its own run left without a last word is examined in a process of its
own: it works at low priority, its memory goes with it, and whatever is odd about a
record ends that process and not the server.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from surefoot.dashboard.library import Mark
from surefoot.diagnosis.stored import Stored, stored_in

LONGEST_SECONDS = 900.0
"""An examination that takes longer is given up: 5e7 readings, the most that are
looked at, take about a minute."""

_MOST_KEPT = 2_000
"""Outcomes that are remembered; each is a few kB."""

_ONE_THREAD = tuple(
    f"{name}_NUM_THREADS" for name in ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM")
)
"""Variables that hold number libraries to one core: training comes first."""

_Files = tuple[tuple[int, ...], tuple[int, ...]]
"""Marks of a record and its journal: trials beside it change no diagnosis."""

_Key = tuple[Path, _Files]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an examination came to: a diagnosis, or the reason why there is none."""

    stored: Stored | None
    trouble: str = ""


class Examiner:
    """Examines records in the background, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._wanted: OrderedDict[Path, _Files] = OrderedDict()
        self._known: OrderedDict[_Key, Outcome] = OrderedDict()
        self._job: subprocess.Popen[bytes] | None = None
        self._under_way: _Key | None = None
        self._closed = False
        self._thread = threading.Thread(
            target=self._work, name="surefoot examiner", daemon=True
        )
        self._thread.start()

    def outcome(
        self, path: Path, mark: Mark, *, urgent: bool = False
    ) -> Outcome | None:
        """What is known of a record as it is now; None until it was examined.

        Asks for the examination; an urgent one goes before the others.
        """
        key = path, (mark.record, mark.journal)
        with self._news:
            if key in self._known or self._closed:
                return self._known.get(key)
            if key != self._under_way:
                self._wanted[path] = key[1]
                if urgent:
                    self._wanted.move_to_end(path, last=False)
                self._news.notify()
        return None

    def close(self) -> None:
        """End the work, and the process that is at it."""
        with self._news:
            self._closed = True
            self._wanted.clear()
            if self._job is not None:
                self._job.kill()
            self._news.notify()
        self._thread.join()

    def _work(self) -> None:
        while (key := self._next()) is not None:
            outcome = self._examined(key[0])
            with self._news:
                self._under_way = None
                self._known[key] = outcome
                while len(self._known) > _MOST_KEPT:
                    self._known.popitem(last=False)

    def _next(self) -> _Key | None:
        """The next record; waits for one. None when there will be none."""
        with self._news:
            self._news.wait_for(lambda: self._closed or self._wanted)
            if self._closed:
                return None
            self._under_way = self._wanted.popitem(last=False)
            return self._under_way

    def _examined(self, path: Path) -> Outcome:
        """One examination, from start to end."""
        try:
            with self._news:
                if self._closed:
                    return Outcome(None, "The server was ended.")
                job = self._job = started(path)
            told, said = job.communicate(timeout=LONGEST_SECONDS)
        except subprocess.TimeoutExpired:
            return Outcome(None, "Examining the record took too long; it was given up.")
        except OSError as error:
            return Outcome(None, f"The record could not be examined ({error}).")
        finally:
            self._end_job()
        return outcome_of(told, said)

    def _end_job(self) -> None:
        with self._news:
            job, self._job = self._job, None
        if job is not None:
            job.kill()
            job.communicate()


def started(path: Path) -> subprocess.Popen[bytes]:
    """A process that examines a record and writes what `outcome_of` reads.

    Raises:
        OSError: it cannot be started.
    """
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "surefoot.dashboard.examination", str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **dict.fromkeys(_ONE_THREAD, "1")},
    )


def outcome_of(told: bytes, said: bytes) -> Outcome:
    """The outcome in what an examination wrote to its two outputs."""
    answer: Any = None
    with contextlib.suppress(ValueError, RecursionError):
        answer = json.loads(told)
    stored = stored_in(answer)
    if stored is not None:
        return Outcome(stored)
    last = said.decode(errors="replace").strip().rpartition("\n")[2]
    why = last or "it ended without a word"
    return Outcome(None, f"The record could not be examined: {why[:300]}")
