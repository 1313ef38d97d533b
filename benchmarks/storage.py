"""What keeping a reading costs: 100 metrics a step come in, time and bytes go out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from benchmarks.tables import measured, table
from surefoot.record.writer import RecordWriter
from surefoot.run import Run
from surefoot.types import Series

METRICS = tuple(f"metric{i}" for i in range(100))
BLOCK = 50
"""Rows that the recorder hands over at once, at most."""

DESIGN_US, DESIGN_MB = 4.3, 5.2
"""What a prototype of the record needed: SQLite, a row of 100 float32 a step."""

HEAD = (
    "store",
    "training thread, µs a step",
    "all threads, µs a step",
    "MB per million numbers",
)

Rows = npt.NDArray[np.float32]
Store = Callable[[Path, Rows], Iterable[None]]
"""Writes `rows`, shape `[steps, 100]`; yields when the training loop would go on, at
least once: what follows the last yield is the end of the run."""


def record(folder: Path, rows: Rows) -> Iterator[None]:
    """Surefoot's record, in blocks as its recorder hands them over."""
    writer = RecordWriter(folder / "run.surefoot", {})
    for first in range(0, len(rows), BLOCK):
        steps = np.arange(first, min(first + BLOCK, len(rows)))
        writer.append(Series("metric", METRICS, steps, rows[steps]))
    yield
    writer.close()


def run_log(folder: Path, rows: Rows) -> Iterator[None]:
    """Surefoot's `run.log(**metrics)` at each step, as a user may call it."""
    run = Run(RecordWriter(folder / "run.surefoot", {}))
    for row in rows.tolist():
        run.log(**dict(zip(METRICS, row, strict=True)))
    yield
    run.close()


def tensorboard(folder: Path, rows: Rows) -> Iterator[None]:
    """TensorBoard's `add_scalar` for each metric."""
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(folder)
    for step, row in enumerate(rows.tolist()):
        for name, value in zip(METRICS, row, strict=True):
            writer.add_scalar(name, value, step)
    yield
    writer.close()


def jsonl(folder: Path, rows: Rows) -> Iterator[None]:
    """A line of JSON a step, flushed so that a killed run keeps it."""
    with (folder / "run.jsonl").open("w") as file:
        for step, row in enumerate(rows.tolist()):
            line = {"step": step, **dict(zip(METRICS, row, strict=True))}
            file.write(json.dumps(line) + "\n")
            file.flush()
        yield


STORES: dict[str, tuple[Store, str, int]] = {
    "Surefoot's record, blocks of the recorder": (record, "", 1),
    "Surefoot, run.log at each step": (run_log, "", 10),
    "TensorBoard add_scalar": (tensorboard, "tensorboard", 10),
    "JSON lines, flushed": (jsonl, "", 1),
}
"""What to measure, the package it needs, and by how much fewer steps will do."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one store needed: CPU microseconds a step, megabytes per million."""

    thread_us: float
    process_us: float
    megabytes: float


@contextmanager
def _folder() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        yield Path(name)


def cost(store: Store, steps: int) -> Cost:
    """Write normally distributed numbers, which hardly compress, and read clocks."""
    rows = np.random.default_rng(0).standard_normal((steps, len(METRICS)))
    with _folder() as folder:
        writing = iter(store(folder, rows.astype(np.float32)))
        process, thread = time.process_time(), time.thread_time()
        next(writing)
        thread = time.thread_time() - thread
        next(writing, None)
        process = time.process_time() - process
        size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    return Cost(1e6 * thread / steps, 1e6 * process / steps, size / rows.size)


def report(steps: int) -> str:
    """The table; every store writes the same numbers."""
    lines: list[list[str]] = []
    costs: list[Cost] = []
    for title, (store, needs, fewer) in STORES.items():
        if needs and find_spec(needs) is None:
            lines.append([title, "", "", f"{needs} is not installed"])
            continue
        one = cost(store, max(500, steps // fewer))
        costs.append(one)
        values = (one.thread_us, one.process_us, one.megabytes)
        lines.append([title, *[f"{value:,.1f}" for value in values]])
    title = f"Record: {len(METRICS)} metrics x {steps:,} steps"
    first = costs[0]
    aims = [
        f"The record, training thread: {measured(first.thread_us, DESIGN_US, 'µs')}",
        f"The record, size: {measured(first.megabytes, DESIGN_MB, 'MB per million')}",
    ]
    return "\n".join([table(title, HEAD, lines), "", *aims])
