"""A process that has loaded torch forks one for each branch: arguments come in.

Loading torch takes seconds of CPU time, which is most of a short branch. What forks has
done nothing with torch but load it: no thread of its runs yet, and no device is in use.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, TextIO

import torch

LOOK_SECONDS = 0.02
"""How often it is seen to which branches have ended."""

LOST = -1
"""The status of a branch whose parent is gone before it said how the branch ended."""


class Process(Protocol):
    """A process that was started: what `subprocess.Popen` has of it."""

    @property
    def pid(self) -> int:
        """Its number, which is that of its group too."""
        ...

    @property
    def returncode(self) -> int | None:
        """Its exit status as far as it was asked for."""
        ...

    def poll(self) -> int | None:
        """Its exit status; None while it runs."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, once it has ended."""
        ...


# --- the process that forks -------------------------------------------------------


def serve(
    run: Callable[[Sequence[str]], int], requests: TextIO, answers: TextIO
) -> int:
    """Fork for each request that comes in; in a branch, what `run` gives goes out.

    A request is a line of JSON with `arguments`, the file `words` for what the branch
    prints, and the file `status` for how it ended. Its process number is the answer.
    At the end of the requests all branches are ended.
    """
    _load()
    running: dict[int, Path] = {}
    while True:
        wait = LOOK_SECONDS if running else None
        asked, _, _ = select.select([requests], [], [], wait)
        _reap(running)
        line = requests.readline() if asked else "\n"
        if not line:
            break
        if not line.strip():
            continue
        told = json.loads(line)
        pid = _fork()
        if pid == 0:
            _become(Path(told["words"]))
            return run(told["arguments"])
        with suppress(OSError):  # the branch does so too: whoever is first
            os.setpgid(pid, pid)
        running[pid] = Path(told["status"])
        answers.write(f"{pid}\n")
        answers.flush()
    for pid in running:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    while running:
        _reap(running)
        time.sleep(LOOK_SECONDS)
    return 0


def _load() -> None:
    """Let torch load what it loads with the first optimizer: half as much again.

    What is there by then no branch looks through, neither for models nor at its end.
    """
    torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    gc.collect()
    gc.freeze()


def _fork() -> int:
    with warnings.catch_warnings():
        # Python counts numpy's threads too, which are put right by their library.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _become(words: Path) -> None:
    """In the new process: a group of its own, which prints to a file."""
    os.setpgid(0, 0)
    into = os.open(words, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for old, new in ((nothing, 0), (into, 1), (into, 2)):
        os.dup2(old, new)
    os.close(into)
    os.close(nothing)


def _reap(running: dict[int, Path]) -> None:
    """Say of each branch that has ended how it did."""
    for pid in [*running]:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            file = running.pop(pid)
            part = file.with_suffix(".part")
            with suppress(OSError):  # whoever asked may be gone with its folder
                part.write_text(str(os.waitstatus_to_exitcode(status)))
                part.replace(file)


# --- who asks it -------------------------------------------------------------------


@dataclass(slots=True)
class _Forked:
    """A branch that was forked, as `subprocess.Popen` would show it."""

    pid: int
    status: Path
    parent: subprocess.Popen[str]
    returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit status; None while it runs."""
        if self.returncode is None:
            gone = self.parent.poll() is not None
            if self.status.exists():
                self.returncode = int(self.status.read_text())
            elif gone:
                self.returncode = LOST
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, once it has ended.

        Raises:
            TimeoutExpired: it still runs.
        """
        began = time.monotonic()
        while (status := self.poll()) is None:
            if timeout is not None and time.monotonic() - began > timeout:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(LOOK_SECONDS)
        return status


class Starter:
    """Starts a program of this package once for each branch.

    As a context manager. Where processes can be forked safely, which is on Linux, the
    program is loaded once, with `--serve`, and forks; where that fails, and elsewhere,
    each is a process from the start.
    """

    def __init__(self, program: str, environment: Mapping[str, str]) -> None:
        self._command = [sys.executable, "-m", program]
        self._environment = dict(environment)
        self._parent: subprocess.Popen[str] | None = None
        self._answered = False

    def __enter__(self) -> Starter:
        if sys.platform == "linux":
            self._parent = subprocess.Popen(
                [*self._command, "--serve"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
                env=self._environment,
            )
        return self

    def __exit__(self, *error: object) -> None:
        if self._parent is not None:
            parent, self._parent = self._parent, None
            _close(parent.stdin)
            if not self._answered:
                parent.kill()  # it may still be loading
            parent.wait()
            _close(parent.stdout)

    def start(self, arguments: Sequence[str], words: Path) -> Process:
        """Start the program in a process group of its own; it prints to `words`."""
        parent = self._parent
        if parent is not None:
            status = words.with_suffix(".status")
            told = {"words": str(words), "status": str(status)}
            pid = _asked(parent, {**told, "arguments": list(arguments)})
            if pid is not None:
                self._answered = True
                return _Forked(pid, status, parent)
            self.__exit__()
        with words.open("wb") as into:
            return subprocess.Popen(
                [*self._command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=into,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for this process; it ends the others itself.
                start_new_session=True,
                env=self._environment,
            )


def _asked(parent: subprocess.Popen[str], told: Mapping[str, object]) -> int | None:
    """The number of the process that was forked; None where none was."""
    if parent.stdin is None or parent.stdout is None:
        return None
    try:
        parent.stdin.write(json.dumps(told) + "\n")
        parent.stdin.flush()
        return int(parent.stdout.readline())
    except (OSError, ValueError):
        return None


def _close(pipe: IO[str] | None) -> None:
    with suppress(OSError):
        if pipe is not None:
            pipe.close()
