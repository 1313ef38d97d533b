"""What a diagnosis costs: a long record of many layers comes in, CPU seconds go out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.tables import measured, table
from surefoot import RecordReader, examine
from surefoot.diagnosis.diagnose import diagnose
from surefoot.record.quantities import ALL
from surefoot.record.writer import RecordWriter
from surefoot.signatures.detect import detect
from surefoot.types import Facts, Module, Parameter, Series

STEPS = 100_000
LAYERS = 200
TARGET_SECONDS = 2.0
EVERY = 10
BLOCK = 2_000
DENSE = (
    "loss",
    "step_seconds",
    "batch_size",
    "lr",
    "grad_norm",
    "input_mean",
    "input_std",
    "input_absmax",
)


def write(path: Path, steps: int, layers: int, *, sick: bool) -> None:
    """A run with all quantities in their usual rhythm, most log-normal around 1.

    Each module has two parameters, so quantities of modules have half as many layers.
    A sick run learns nothing, has a spike each 5,000 steps, gradients that vanish with
    depth, units that die in every second module at half time, and diverges in the end.
    """
    writer = RecordWriter(path, {"streams": {"main": asdict(facts(layers))}})
    draw = np.random.default_rng(0)
    for first in range(0, steps, BLOCK):
        for series in _block(first, min(BLOCK, steps - first), layers, draw):
            if sick:
                _spoil(series, steps)
            writer.append(series)
        writer.flush(timeout_seconds=60)
    writer.close(timeout_seconds=60)


def facts(layers: int) -> Facts:
    modules = tuple(Module(f"net.{i}", "Linear") for i in range(layers // 2))
    parameters = tuple(
        Parameter(f"{module.name}.{kind}", module.name, 1000)
        for module in modules
        for kind in ("weight", "bias")
    )
    options = {"lr": 1e-3, "betas.0": 0.9, "betas.1": 0.999}
    return Facts("main", "Net", "AdamW", options, parameters, modules)


def _block(
    first: int, count: int, layers: int, draw: np.random.Generator
) -> Iterator[Series]:
    known = facts(layers)
    names = {
        "run": ("run",),
        "group": ("group0",),
        "parameter": tuple(parameter.name for parameter in known.parameters),
        "module": tuple(module.name for module in known.modules),
        "metric": ("held_out_accuracy",),
        "quantile": ("q25", "q50", "q75", "q90", "max"),
        "class": tuple(str(i) for i in range(10)),
    }
    for quantity in ALL:
        every = 1 if quantity.name in DENSE else EVERY
        steps = np.arange(first, first + count, every)
        own = names[quantity.axis]
        noise = draw.standard_normal((len(steps), len(own))).astype(np.float32)
        level = np.full((len(steps), 1), _level(quantity.name), np.float32)
        if quantity.name == "loss":
            level = 2.0 * (1 + steps[:, None] / 1000) ** -0.5
        values = level * np.exp(0.1 * noise)
        yield Series(quantity.name, own, steps, values.astype(np.float32))


def _spoil(series: Series, steps: int) -> None:
    """Plant the faults of a sick run, in place."""
    spikes = (series.steps % 5000 == 4990) & (series.steps > 0)
    if series.quantity in ("loss", "grad_norm"):
        series.values[spikes] *= 10
    if series.quantity == "loss":
        series.values[:] *= (1 + series.steps[:, None] / 1000) ** 0.5
        series.values[:] *= 1 + 10 * np.maximum(0, series.steps[:, None] / steps - 0.9)
    if series.quantity == "grad_norm":
        count = len(series.layers)
        series.values[:] *= np.float32(0.9) ** np.arange(count, 0, -1, np.float32)
    if series.quantity in ("dead_share", "zero_share"):
        series.values[series.steps >= steps // 2, ::2] = 0.95


def _level(quantity: str) -> float:
    """A size that is usual for a quantity, so that nothing is found."""
    usual = {"lr": 1e-3, "update_norm": 1e-3, "batch_size": 64.0, "norm_gap": 0.1}
    return 0.0 if quantity.endswith("_share") else usual.get(quantity, 1.0)


def seconds(action: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of the whole process, and what the action returned."""
    start = time.process_time()
    result = action()
    return time.process_time() - start, result


def parts(path: Path) -> dict[str, float]:
    """CPU seconds of the whole diagnosis, then of its parts one after another."""
    with RecordReader(path) as reader:
        whole, found = seconds(lambda: examine(reader))
    with RecordReader(path) as reader:
        known, events = reader.facts()["main"], reader.events()
        reading, series = seconds(
            lambda: {name: reader.series(name) for name in reader.quantities()}
        )
    detecting, findings = seconds(lambda: detect(series, known, events))
    judging, _ = seconds(lambda: diagnose(findings, known, events))
    return {
        "whole diagnosis": whole,
        "  reading": reading,
        "  signatures": detecting,
        "  causes": judging,
        "things found": len(found),
    }


def report(steps: int = STEPS, layers: int = LAYERS) -> str:
    """The table, best of three."""
    found: list[dict[str, float]] = []
    for sick in (False, True):
        with TemporaryDirectory() as folder:
            path = Path(folder) / "long.surefoot"
            write(path, steps, layers, sick=sick)
            size = path.stat().st_size / 1e6
            found.append(min((parts(path) for _ in range(3)), key=_whole))
    title = f"Diagnosis: {steps:,} steps x {layers} layers, {size:.0f} MB, best of 3"
    rows = [[name, *(f"{one[name]:.3g}" for one in found)] for name in found[0]]
    aim = measured(max(map(_whole, found)), TARGET_SECONDS, "s of CPU")
    head = ("CPU s", "a healthy run", "a sick run")
    return "\n".join([table(title, head, rows), "", f"Diagnosis: {aim}"])


def _whole(one: dict[str, float]) -> float:
    return one["whole diagnosis"]
