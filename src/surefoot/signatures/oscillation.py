"""Oscillation: the loss bounces from step to step instead of falling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from surefoot.signatures.learning import learning
from surefoot.signatures.statistics import Array
from surefoot.types import Event, Evidence, Facts, Finding, Series, Severity, Signature

BOUND = -0.6
SOURCE = (
    "correlation of consecutive changes of the loss: -0.5 for independent batches "
    "(the differences of white noise), -1 for bouncing across a valley"
)
SHORTEST = 60


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding if the second half of the loss bounces more than chance allows."""
    loss = series["loss"]
    values = loss.values[:, 0].astype(np.float64)
    half = values[len(values) // 2 :]
    half = half[np.isfinite(half)]
    if half.size < SHORTEST // 2:
        return []
    observed = bounce(half)
    # two standard errors beyond what independent batches give
    bound = BOUND - 2 / np.sqrt(half.size)
    if observed > bound:
        return []
    severity: Severity = "warning" if learning(series, facts).trouble else "info"
    onset = int(loss.steps[len(values) // 2])
    name = f"correlation of consecutive loss changes, from step {onset}"
    return [
        Finding(
            signature="oscillation",
            layer="run",
            onset=onset,
            severity=severity,
            evidence=(Evidence(name, observed, float(bound), SOURCE),),
            layers=("run",),
            stream=facts.stream,
        )
    ]


def bounce(values: Array) -> float:
    """Correlation of each change with the one before it, about zero mean."""
    change = np.diff(values)
    power = float(change @ change)
    return float(change[1:] @ change[:-1]) / power if power > 0 else 0.0


SIGNATURE = Signature(
    name="oscillation",
    about="The loss bounces from step to step.",
    needs=("loss",),
    detect=detect,
)
