"""Writes `v2.surefoot`, the golden record of format 2. Never run it again.

Once a format is out, its golden record stays as it was written: it shows that old
files open. A new format gets a new file beside it, made by a copy of this script.
"""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

import numpy as np

from surefoot.record.writer import RecordWriter
from surefoot.types import Event, Facts, Field, Module, Parameter, Series

FACTS = Facts(
    model="Net",
    optimizer="SGD",
    options={"lr": 0.1, "momentum": 0.9, "nesterov": False},
    parameters=(
        Parameter("0.weight", "0", 12),
        Parameter("0.bias", "0", 3, held=False),
    ),
    modules=(Module("0", "Linear"), Module("1", "Sigmoid")),
    unseen=("module 2 was never called",),
)


def rates(steps: np.ndarray) -> np.ndarray:
    """Readings of two layers, one spike and one gap; the same for the same steps."""
    values = np.stack([1 / (1 + steps), steps / 1000], axis=1).astype(np.float32)
    values[steps == 517, 1] = 1e30
    values[steps == 7000, 0] = np.nan
    return values


def written(path: Path) -> None:
    """Streams, a changing layer set, uneven steps, no numbers; rollups and fields."""
    meta = {
        "created": "2026-01-02T03:04:05.000+00:00",
        "surefoot": "0.1.0",
        "script": "train.py",
        "argv": ["--lr", "0.1"],
        "streams": {"main": FACTS, "critic": {"optimizer": "Adam", "later_key": 1}},
    }
    writer = RecordWriter(path, meta)
    for first in range(0, 200, 50):
        steps = np.arange(first, first + 50)
        loss = (2.0 / (1.0 + steps)).astype(np.float32)[:, None]
        if first == 150:
            loss[-1], loss[-2] = np.nan, np.inf
        writer.append(Series("loss", ("run",), steps, loss))
        writer.append(Series("loss", ("run",), steps, loss + 1, "critic"))
    layers = ("0.weight", "0.bias")
    values = np.array([[0.5, 0.25], [1.5, 1.25], [2.5, 2.25]], np.float32)
    writer.append(Series("grad_norm", layers, np.array([0, 10, 15]), values))
    writer.append(Series("grad_norm", layers[:1], np.array([20, 30]), values[:2, :1]))
    steps = np.concatenate([np.arange(1000), np.arange(1000, 9000, 10)])
    for at in range(0, 1800, 60):
        part = steps[at : at + 60]
        writer.append(Series("lr", ("group 0", "group 1"), part, rates(part)))
    bins = {"layer": layers, "bin": [-2.0, -1.0, 0.0]}
    for step in (0, 64):
        numbers = np.arange(6, dtype=np.float32).reshape(2, 3) + step
        field = Field(step, "grad_histogram", bins, numbers, about={"of": 4096})
        writer.field(field)
    surface = {"alpha": [-1, 0, 1], "beta": [0, 1]}
    heights = np.array([[3, 4], [np.nan, 1], [np.inf, 2]], np.float32)
    writer.field(Field(150, "landscape", surface, heights, "critic"))
    writer.event(Event(0, "start", {"script": "train.py"}))
    writer.event(Event(150, "note", {"text": "größer"}, stream="critic"))
    writer.event(Event(199, "end", {"status": "failed", "error": "ValueError: 3"}))
    writer.put_meta("writer", {"host": "golden", "boot": "", "pid": 1, "heartbeat": 0})
    writer.close()
    database = sqlite3.connect(path)
    database.execute("VACUUM")
    database.close()


if __name__ == "__main__":
    written(Path(sys.argv[1]))
