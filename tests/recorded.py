"""Real records of the planted cases, and of runs that go on: a folder in, paths out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import cases
from surefoot.record.writer import RecordWriter
from surefoot.types import RUN, Event, Facts, Series

BLOCK = 50
"""Steps that a run hands to its record at once."""

SPIKED = "c.weight"


def series(
    quantity: str, values: Any, layers: Sequence[str] = RUN, first: int = 0
) -> Series:
    rows = np.asarray(values, np.float32).reshape(-1, len(layers))
    return Series(quantity, tuple(layers), first + np.arange(len(rows)), rows)


def case(change: str, path: Path) -> Path:
    """The record of a planted case, by its name in `cases`, e.g. "vanishing"."""
    known = {one.name: one for one in (*cases.faulty_cases(), *cases.healthy_cases())}
    found = known[change]
    told = [Event(0, "start", {"script": "net.py", "argv": []}), *found.events]
    return write(path, *found.series.values(), told=told, facts=found.facts)


def write(
    path: Path,
    *blocks: Series,
    told: Iterable[Event] = (),
    facts: Facts | None = None,
    **meta: Any,
) -> Path:
    """A record of a run that has finished."""
    writer = RecordWriter(path, meta)
    append(writer, *blocks)
    if facts is not None:
        writer.put_meta("streams", {"main": asdict(facts)})
    for event in told:
        writer.event(event)
    end(writer, max((int(one.steps[-1]) for one in blocks), default=0))
    return path


def append(writer: RecordWriter, *blocks: Series, size: int = BLOCK) -> None:
    """Readings as a run hands them over; on the disk when this returns."""
    for one in blocks:
        for at in range(0, len(one.steps), size):
            part = slice(at, at + size)
            kept = Series(one.quantity, one.layers, one.steps[part], one.values[part])
            writer.append(kept)
            if size > BLOCK:  # the queue is bounded, and drops what comes too fast
                assert writer.flush(60)
    assert writer.flush(60)


def end(writer: RecordWriter, step: int) -> None:
    """The run has finished."""
    writer.event(Event(step, "end", {"status": "finished"}))
    writer.close()


def long_with_a_spike(path: Path, spike: int, steps: int = 1_000_000) -> Path:
    """A million steps of loss and of four layers; one step of each stands out."""
    rng = np.random.default_rng(2)
    layers = ("a.weight", "b.weight", SPIKED, "d.weight")
    loss = 1 + 0.05 * rng.standard_normal(steps)
    grads = 0.5 + 0.02 * rng.standard_normal((steps, len(layers)))
    loss[spike] = 9
    grads[spike, layers.index(SPIKED)] = 400
    writer = RecordWriter(path, {})
    append(
        writer, series("loss", loss), series("grad_norm", grads, layers), size=10_000
    )
    end(writer, steps - 1)
    return path
