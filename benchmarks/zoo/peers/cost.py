"""What a tool costs a step: its name comes in, ratios of CPU time go out.

Two processes train the same healthy run, one bare and one with the tool. They take
turns, a block of steps each, so that what else the machine does falls on both.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.zoo.peers import catalogue
from benchmarks.zoo.peers.alarm import Peer, Watcher
from benchmarks.zoo.peers.run import SERVER
from benchmarks.zoo.peers.runs import build
from surefoot.zoo.scenario import Scenario
from surefoot.zoo.train import Nobody, train

BLOCK = 30
BLOCKS = 4
"""The first block warms up; the median is over the others."""

LIMIT_SECONDS = 300.0


class Paced(Nobody):
    """Waits for its turn at each block of steps, and tells the CPU time of each."""

    def __init__(self, inner: Any, line: Connection) -> None:
        self.inner, self.line = inner, line
        self.seconds: list[float] = []

    def start(self, task: Any) -> None:
        task.steps, task.log_every = BLOCK * BLOCKS, 0
        self.inner.start(task)
        self.line.recv()
        self.last = time.process_time()

    def before_backward(self, step: int, loss: Any, batch: Any) -> None:
        self.inner.before_backward(step, loss, batch)

    def before_update(self, step: int) -> None:
        self.inner.before_update(step)

    def after_update(self, step: int, loss: Any, batch: Any) -> None:
        self.inner.after_update(step, loss, batch)
        self.seconds.append(time.process_time() - self.last)
        if step % BLOCK == BLOCK - 1:
            self.line.send(self.seconds)
            self.seconds = []
            if step < BLOCK * BLOCKS - 1:
                self.line.recv()
        self.last = time.process_time()


class Process:
    """One of the two processes."""

    def __init__(self, peer: str, scenario: Scenario, folder: Path) -> None:
        self.line, theirs = SERVER.Pipe()
        own = folder / (peer or "bare").replace(" ", "-")
        own.mkdir()
        told = (theirs, peer, scenario, own)
        self.process = SERVER.Process(target=_train, args=told)
        self.process.start()
        theirs.close()

    def block(self) -> list[float] | None:
        """CPU seconds of each step of the next block; nothing if the process died."""
        with suppress(EOFError, OSError):
            self.line.send("your turn")
            if self.line.poll(LIMIT_SECONDS):
                return self.line.recv()
        return None

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.join()


def ratio(peer: Peer, scenario: Scenario) -> float | None:
    """CPU time of a step with the tool, over that without; nothing if it crashed."""
    with TemporaryDirectory() as folder:
        pair = [Process(name, scenario, Path(folder)) for name in ("", peer.name)]
        seconds: list[list[float]] = [[], []]
        for k in range(BLOCKS):
            for own, process in zip(seconds, pair, strict=True):
                found = process.block()
                if found is None:
                    _close(pair)
                    return None
                own += found if k else []
        _close(pair)
        bare, watched = (median(own) for own in seconds)
        return watched / bare


def _close(pair: Sequence[Process]) -> None:
    for process in pair:
        process.close()


def _train(line: Connection, name: str, scenario: Scenario, folder: Path) -> None:
    torch.set_num_threads(1)
    os.chdir(folder)
    with (folder / "said.txt").open("w") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    task, _ = build(scenario)
    inner: Watcher | Nobody = Nobody()
    for peer in catalogue.ALL:
        if peer.name == name:
            inner = peer.watcher(folder)
    train(task, Paced(inner, line))
