"""Logit drift: the scores of the output wander off together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from surefoot.signatures import network
from surefoot.signatures.learning import learning
from surefoot.signatures.statistics import level, since
from surefoot.types import Event, Evidence, Facts, Finding, Series, Severity, Signature

BOUND = 1000.0
FAR = 1e4
"""Where log Z is beyond 100 the scores are an alarm even if the run does well."""
GROWTH = 10.0
READINGS = 5
SOURCE = (
    "mean of log² Z over the output: a z-loss holds it near zero (Chowdhery et al. "
    "2022, arXiv:2204.02311), healthy runs without one stay below a few hundred "
    "(benchmarks/zoo)"
)


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding if the level of the scores is far from zero and grew there."""
    rows = series["log_z_square"]
    values = rows.values[:, 0].astype(np.float64)
    if values.size < READINGS:
        return []
    last, first = level(values[-READINGS:]), level(values[:2])
    if last < BOUND or last < GROWTH * first:
        return []
    begin = since(values > 0.1 * BOUND) or 0
    loud = last > FAR or learning(series, facts).idle
    severity: Severity = "warning" if loud else "info"
    return [
        Finding(
            signature="logit_drift",
            layer=network.output_module(facts) or "run",
            onset=int(rows.steps[begin]),
            severity=severity,
            evidence=(Evidence("log_z_square, last readings", last, BOUND, SOURCE),),
            layers=("run",),
            stream=facts.stream,
        )
    ]


SIGNATURE = Signature(
    name="logit_drift",
    about="The scores of the output drift away from zero together.",
    needs=("log_z_square",),
    detect=detect,
    uses=("loss",),
)
