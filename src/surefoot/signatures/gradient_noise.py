"""Gradient noise: gradients of consecutive batches have nothing in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from surefoot.signatures import network
from surefoot.signatures.learning import learning
from surefoot.signatures.profile import columns
from surefoot.signatures.statistics import level, median_over_time
from surefoot.types import Event, Evidence, Facts, Finding, Series, Severity, Signature

BOUND = 0.1
READINGS = 10
SOURCE = (
    "cosine of the gradients of consecutive batches, median over weights and readings: "
    "its expectation is the share of signal in their power (McCandlish et al. 2018, "
    "arXiv:1812.06162; benchmarks/zoo)"
)


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding if the gradient was noise from the start, and nothing is won."""
    rows = series["grad_cosine"]
    layers = tuple(name for name in network.weights(facts) if name in rows.layers)
    if rows.steps.size < READINGS or not layers:
        return []
    values = median_over_time(columns(rows, layers).T)  # over layers, [n]
    observed = level(values, 1.0)
    early = level(values[: READINGS // 2], 1.0)
    if max(abs(observed), abs(early)) > BOUND:
        return []
    course = learning(series, facts)
    severity: Severity = "warning" if course.idle else "info"
    name = "grad_cosine, median over weights and readings"
    return [
        Finding(
            signature="gradient_noise",
            layer="run",
            onset=int(rows.steps[0]),
            severity=severity,
            evidence=(Evidence(name, observed, BOUND, SOURCE),),
            layers=("run",),
            stream=facts.stream,
            detail={"early": float(np.round(early, 4))},
        )
    ]


SIGNATURE = Signature(
    name="gradient_noise",
    about="Gradients of consecutive batches have nothing in common.",
    needs=("grad_cosine",),
    detect=detect,
    uses=("loss",),
)
