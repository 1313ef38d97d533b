"""One tool at one run, in a process of its own: what became of it comes out.

Processes are forked from a server that has imported torch and nothing else, so that
each begins with a clean interpreter and no tool finds the hooks of another. A tool
that raises ends its process; that counts as a crash, and as neither hit nor alarm.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.zoo.peers import catalogue
from benchmarks.zoo.peers.alarm import Peer
from benchmarks.zoo.peers.count import Outcome, outcome
from benchmarks.zoo.peers.runs import build, hurt
from surefoot.zoo.scenario import Scenario
from surefoot.zoo.train import train

LIMIT_CPU_SECONDS = 120
LIMIT_SECONDS = 900.0
"""A run takes one to three seconds of CPU time; a tool may cost forty times as much.
Only a tool that hangs meets the second limit, however busy the machine."""

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["benchmarks.zoo.peers.run"])


Found = tuple[Outcome, dict[str, tuple[int, str]], float]


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one tool did at one run; `crash` says why it came to no outcome.

    `said` are the names of its alarms with the layer and step of the first of each.
    """

    peer: str
    run: str
    outcome: Outcome | None = None
    said: dict[str, tuple[int, str]] = field(default_factory=dict)
    cpu_seconds: float = 0.0
    crash: str = ""


def attempts(
    pairs: Iterable[tuple[Peer, Scenario]], processes: int
) -> Iterator[Attempt]:
    """All pairs of tools and runs, some at a time, in their order."""
    with ThreadPoolExecutor(processes) as pool:
        yield from pool.map(lambda pair: attempt(*pair), pairs)


def attempt(peer: Peer, scenario: Scenario) -> Attempt:
    """One tool at one run."""
    with TemporaryDirectory() as folder:
        ours, theirs = SERVER.Pipe(duplex=False)
        told = (theirs, peer.name, scenario, Path(folder))
        process = SERVER.Process(target=_watch, args=told)
        process.start()
        theirs.close()
        found = _received(ours)
        # Without an answer it is about to end, and its status says how.
        process.join(timeout=60 if found is None else 0)
        why = _why(process.exitcode, Path(folder))
        process.kill()
        process.join()
        if found is None:
            return Attempt(peer.name, scenario.name, crash=why)
        return Attempt(peer.name, scenario.name, *found)


def harms(scenarios: Iterable[Scenario], processes: int) -> dict[str, bool]:
    """Whether each fault does harm, by the name of its run."""
    with ProcessPoolExecutor(processes, mp_context=SERVER, initializer=_one) as pool:
        asked = list(scenarios)
        found = pool.map(hurt, asked)
        return {run.name: one.held for run, one in zip(asked, found, strict=True)}


def _one() -> None:
    torch.set_num_threads(1)


def _received(ours: Connection) -> Found | None:
    try:
        return ours.recv() if ours.poll(LIMIT_SECONDS) else None
    except EOFError:
        return None


def _why(status: int | None, folder: Path) -> str:
    """Why a process came to no outcome: what it said last, or that it was too slow."""
    if status in (None, -signal.SIGKILL, -signal.SIGXCPU):
        return "took too long"
    path = folder / "said.txt"
    lines = path.read_text(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else "ended without a word"


def _watch(answer: Connection, name: str, scenario: Scenario, folder: Path) -> None:
    """Train the run under the eyes of the tool, and send what it is worth."""
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_CPU_SECONDS, LIMIT_CPU_SECONDS))
    peer = next(one for one in catalogue.ALL if one.name == name)
    with (folder / "said.txt").open("w") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        with redirect_stdout(said), redirect_stderr(said):
            os.chdir(folder)
            task, planted = build(scenario)
            watcher = peer.watcher(folder / "own")
            watcher.folder.mkdir()
            train(task, watcher)
            first: dict[str, tuple[int, str]] = {}
            for alarm in watcher.alarms:
                first.setdefault(alarm.name, (alarm.step, alarm.layer))
            judged = outcome(watcher.alarms, planted, peer.words)
            answer.send((judged, first, time.process_time()))
