"""A length and a width come in, a record of such a run goes out, with one spike.

The numbers are made up but have the shape of a real run's: a falling loss, noisy
norms of some layers that lie decades apart. The writer is the one of a live run.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from surefoot.record.writer import RecordWriter
from surefoot.types import Event, Facts, Module, Parameter, Series

BLOCK = 50
"""Readings that the recorder hands over at once."""

RARE = 10
"""Steps between the readings of what is not looked at in each step."""

RARELY = ("update_norm", "weight_norm", "dead_share")

SPIKE = 1e4
"""The one reading of `grad_norm` (and of the loss) that must be seen."""


def layer_names(layers: int) -> tuple[str, ...]:
    """Names of that many parameter tensors, as of a deep network."""
    return tuple(f"blocks.{at // 2}.{'wb'[at % 2]}" for at in range(layers))


def spike_step(steps: int) -> int:
    """Where the spike is, in the layer in the middle."""
    return int(steps * 0.765432)


def big_record(path: Path, steps: int = 1_000_000, layers: int = 200) -> Path:
    """Write a closed record of `steps` steps; about 1.1 GB at the usual size.

    `loss`, `lr` and `grad_norm` at each step, `RARELY` at each tenth; returns `path`.
    """
    names = layer_names(layers)
    random = np.random.default_rng(0)
    noise = random.lognormal(sigma=0.3, size=(16 * BLOCK, layers)).astype(np.float32)
    scale = np.logspace(-2, 0, layers, dtype=np.float32)
    writer = RecordWriter(
        path, {"streams": {"main": _facts(names)}, "script": "big.py"}
    )
    writer.event(Event(0, "start", {"script": "big.py"}))
    for first in range(0, steps, BLOCK):
        at = np.arange(first, min(first + BLOCK, steps))
        norms = noise[first % len(noise) :][: len(at)] * scale
        _append(writer, at, norms, names, spike=spike_step(steps))
        if first % (200 * BLOCK) == 0:
            writer.flush(60)
            writer.event(Event(first, "checkpoint", {"path": f"{first}.pt"}))
    writer.event(
        Event(spike_step(steps), "note", {"text": "the loss was seen to jump"})
    )
    writer.event(Event(steps - 1, "end", {"status": "finished"}))
    writer.close(60)
    if writer.dropped:
        raise RuntimeError(f"{path} is not whole: {writer.trouble}; try a faster disk")
    return path


def _append(
    writer: RecordWriter,
    at: npt.NDArray[np.int64],
    norms: npt.NDArray[np.float32],
    names: tuple[str, ...],
    *,
    spike: int,
) -> None:
    loss = (8 / (1 + at / 1e4) ** 0.3 + norms[:, 0] * 100).astype(np.float32)[:, None]
    spiked = at == spike
    norms[spiked, len(names) // 2] = SPIKE
    loss[spiked] = SPIKE
    lr = (1e-3 * np.minimum(1, (at + 1) / 2000)).astype(np.float32)[:, None]
    writer.append(Series("loss", ("run",), at, loss))
    writer.append(Series("lr", ("group 0",), at, lr))
    writer.append(Series("grad_norm", names, at, norms))
    rare = at % RARE == 0
    if rare.any():
        update = (norms[rare] * lr[rare]).astype(np.float32)
        writer.append(Series("update_norm", names, at[rare], update))
        weight = (np.full_like(update, 3) + at[rare, None] * 1e-6).astype(np.float32)
        writer.append(Series("weight_norm", names, at[rare], weight))
        dead = np.clip(norms[rare] / 10, 0, 1).astype(np.float32)
        writer.append(Series("dead_share", names, at[rare], dead))


def _facts(names: tuple[str, ...]) -> Facts:
    modules = tuple(dict.fromkeys(name.rpartition(".")[0] for name in names))
    return Facts(
        model="Deep",
        optimizer="AdamW",
        options={"lr": 1e-3},
        parameters=tuple(
            Parameter(name, name.rpartition(".")[0], 4096, shape=(64, 64))
            for name in names
        ),
        modules=tuple(Module(name, "Linear") for name in modules),
    )
