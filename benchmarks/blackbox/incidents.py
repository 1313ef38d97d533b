"""A number of parameters comes in, the seconds that their incident takes go out."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import nn

from benchmarks.tables import measured, table
from surefoot.blackbox.incident import (
    Incident,
    Micro,
    StepRecord,
    read_incident,
    write_incident,
)
from surefoot.blackbox.state import State, Trained, capture
from surefoot.restore.random_streams import RandomStreams

TARGET_SECONDS = 2.0
HEAD = ("what", "MB", "copy, s", "write, s", "write, CPU s", "read, s")
STEPS = 100


def report(parameters: int) -> str:
    """The table for weights alone and with the moments of Adam; 100 updates in each."""
    rows: list[list[str]] = []
    verdicts: list[str] = []
    for name, adam in (("weights (SGD)", False), ("weights and moments (AdamW)", True)):
        trained = _trained(parameters, adam=adam)
        state = capture(trained, 0)
        copied = _copied(trained, state)
        written, cpu, read = _files(state)
        size = f"{state.nbytes / 1e6:,.0f}"
        cells = (f"{one:.2f}" for one in (copied, written, cpu, read))
        rows.append([name, size, *cells])
        verdicts.append(f"{name}, written: {measured(written, TARGET_SECONDS, 's')}")
    title = f"An incident of {parameters / 1e6:.0f} M float32 parameters"
    return "\n".join([table(title, HEAD, rows), "", *verdicts])


def _trained(parameters: int, *, adam: bool) -> Trained:
    width = math.isqrt(parameters // 8)
    layers = [nn.Linear(width, width, bias=False) for _ in range(8)]
    model = nn.Sequential(*layers)
    if not adam:
        return Trained(
            {"model": model}, {"main": torch.optim.SGD(model.parameters(), lr=0.1)}
        )
    optimizer = torch.optim.AdamW(model.parameters())
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    optimizer.zero_grad()
    return Trained({"model": model}, {"main": optimizer})


def _copied(trained: Trained, old: State) -> float:
    """Median seconds of a copy into memory that is there."""
    return median(_seconds(lambda: capture(trained, 0, reuse=old))[0] for _ in range(3))


def _files(state: State) -> tuple[float, float, float]:
    """Median seconds of three files: written, CPU of that, read."""
    micro = [
        Micro(torch.randint(1000, (8, 512)), RandomStreams()) for _ in range(STEPS)
    ]
    steps = tuple(
        StepRecord(i, (1.0,), {"main": (0.1,)}, 1.0, (one,))
        for i, one in enumerate(micro)
    )
    made = Incident({}, "a benchmark", STEPS, STEPS, (), state, steps)
    found: list[tuple[float, float, float]] = []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "x.incident.safetensors"
            written, cpu = _seconds(lambda to=path: write_incident(made, to))
            read, _ = _seconds(lambda at=path: read_incident(at))
            found.append((written, cpu, read))
    written, cpu, read = (median(column) for column in zip(*found, strict=True))
    return written, cpu, read


def _seconds(action: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of an action."""
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - cpu
