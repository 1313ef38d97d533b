"""Accumulating gradients: they are never set to zero, each step adds to the last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from surefoot.signatures.statistics import (
    TO_SIGMA,
    Array,
    level,
    median_over_time,
    scale_about_zero,
)
from surefoot.types import Event, Evidence, Facts, Finding, Series, Signature

SMOOTH = 0.04
GROWTH = 0.3
NOISIER = 3.0
SOURCE = (
    "the norm of a sum over all steps changes by less than 0.04 decades a step while "
    "the loss of the batches is noisy, and grows by 0.3 decades in ten steps; healthy "
    "mini-batch runs change by 0.05 and more (benchmarks/calibrate_signatures.py)"
)
SHORTEST = 40
LONGEST = 400
"""Steps that are looked at: what is wired wrong is wrong from the first step."""


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding if the gradient is far smoother than the loss it comes from."""
    grads, loss = series["grad_norm"], series["loss"]
    if grads.steps.size < SHORTEST or loss.steps.size < SHORTEST:
        return []
    norms = grads.values[:LONGEST].astype(np.float64)
    norms = np.where(np.isfinite(norms) & (norms > 0), norms, np.nan)
    logs = np.log10(norms)
    steps = np.abs(np.diff(logs, axis=0))
    rough = TO_SIGMA * level(median_over_time(steps))
    growth = level(logs[9] - logs[0])
    if rough > SMOOTH or growth < GROWTH:
        return []
    noisy = _roughness(loss.values[:LONGEST, 0].astype(np.float64))
    if noisy < NOISIER * rough:
        return []
    name = "change of log10 grad_norm from step to step, median over layers"
    rise = "growth of log10 grad_norm over the first ten steps"
    return [
        Finding(
            signature="accumulating_gradients",
            layer="run",
            onset=int(grads.steps[0]),
            severity="warning",
            evidence=(
                Evidence(name, rough, SMOOTH, SOURCE),
                Evidence(rise, growth, GROWTH, SOURCE),
            ),
            layers=grads.layers,
            stream=facts.stream,
            detail={"loss_roughness": noisy},
        )
    ]


def _roughness(values: Array) -> float:
    """Typical change of the loss from step to step in decades of its level."""
    values = values[np.isfinite(values)]
    size = level(np.abs(values))
    if size == 0.0:
        return 0.0
    return scale_about_zero(np.diff(values)) / size / np.log(10.0)


SIGNATURE = Signature(
    name="accumulating_gradients",
    about="Gradients are never set to zero: every step adds to those before.",
    needs=("grad_norm", "loss"),
    detect=detect,
)
