"""Overshoot: updates are longer than the curvature along them allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from surefoot.signatures.learning import learning
from surefoot.signatures.statistics import level
from surefoot.types import Event, Evidence, Facts, Finding, Series, Severity, Signature

BOUND = 2.0
READINGS = 5
SOURCE = (
    "curvature along the update times its length: beyond 2 an update raises the loss "
    "to second order. A top eigenvalue of 2/lr is normal (Cohen et al. 2021, "
    "arXiv:2103.00065); along the gradient, and lasting, it is not"
)


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding if most updates of the second half overshoot."""
    rows = series["directional_sharpness"]
    values = rows.values[:, 0].astype(np.float64)
    known = np.isfinite(values)
    values, steps = values[known], rows.steps[known]
    if values.size < 2 * READINGS:
        return []
    half = values.size // 2
    observed = level(values[half:])
    if observed < BOUND:
        return []
    severity: Severity = "warning" if learning(series, facts).idle else "info"
    first = int(np.flatnonzero(values > BOUND)[0])
    name = "directional_sharpness, median of the second half"
    return [
        Finding(
            signature="overshoot",
            layer="run",
            onset=int(steps[first]),
            severity=severity,
            evidence=(Evidence(name, observed, BOUND, SOURCE),),
            layers=("run",),
            stream=facts.stream,
        )
    ]


SIGNATURE = Signature(
    name="overshoot",
    about="Updates overshoot: the curvature along them is too large for their length.",
    needs=("directional_sharpness",),
    detect=detect,
    uses=("loss",),
)
