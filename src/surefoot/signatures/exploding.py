"""Exploding gradients: they leave the range of the run's own past, and stay out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from surefoot.signatures import divergence
from surefoot.signatures.context import around
from surefoot.signatures.learning import learning
from surefoot.signatures.statistics import (
    Array,
    episodes,
    level,
    median_over_time,
    root_sum_square,
    trailing,
)
from surefoot.types import Event, Evidence, Facts, Finding, Series, Severity, Signature

JUMP = 8.0
SOURCE = (
    "8 times the median of the steps before (the autopilot experiments of this "
    "project), asked only of runs whose loss suffers"
)
WINDOW = 50
GAP = 10


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding for the jump of the gradient that the run did not survive."""
    grads = series["grad_norm"]
    if grads.steps.size < 20:
        return []
    # what is not finite is no explosion, and has a signature of its own
    total = root_sum_square(grads.values)
    total = np.where(np.isfinite(total), total, np.nan)
    base, _ = trailing(total, WINDOW)
    # out of the run's whole past, not only of its last, perhaps tiny, gradients
    past = np.fmax.accumulate(base)
    with np.errstate(invalid="ignore"):
        above = (total > JUMP * base) & (total > 2 * past)
    jumps = episodes(above & (base > 0), GAP)
    if not jumps:
        return []
    first, last = _worst(jumps, total, base)
    onset = int(grads.steps[first])
    severity: Severity = "info"
    if _ruinous(series, facts, events, onset):
        severity = "critical"
    layers = _jumped(grads, first)
    observed = float(np.nanmax(total[first : last + 1]))
    name = f"grad_norm over all layers, steps {onset} to {int(grads.steps[last])}"
    return [
        Finding(
            signature="exploding_gradients",
            layer=layers[0] if layers else "run",
            onset=onset,
            severity=severity,
            evidence=(Evidence(name, observed, JUMP * float(base[first]), SOURCE),),
            layers=layers,
            stream=facts.stream,
            detail={
                "typical": level(total),
                "steps": last - first + 1,
                **around(series, onset),
            },
        )
    ]


def _ruinous(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event], onset: int
) -> bool:
    """Whether the loss is not finite at the end, or diverged from about there."""
    if learning(series, facts).state == "broken":
        return True
    diverged = divergence.detect(series, facts, events) if "loss" in series else []
    return any(
        one.severity != "info" and onset >= one.onset - WINDOW for one in diverged
    )


def _worst(jumps: list[tuple[int, int]], total: Array, base: Array) -> tuple[int, int]:
    """The episode with the largest jump."""
    return max(jumps, key=lambda j: np.nanmax(total[j[0] : j[1] + 1]) / base[j[0]])


def _jumped(grads: Series, place: int) -> tuple[str, ...]:
    """Layers whose own gradient jumped at a position, the largest jump first."""
    before = grads.values[max(0, place - WINDOW) : place].astype(np.float64)
    base = median_over_time(before)
    row = grads.values[place].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where(base > 0, row / base, np.nan)
    order = np.argsort(-np.where(np.isnan(factor), -1, factor))
    return tuple(grads.layers[i] for i in order if factor[i] > JUMP)


SIGNATURE = Signature(
    name="exploding_gradients",
    about="Gradients grow far beyond the run's own past.",
    needs=("grad_norm",),
    detect=detect,
    uses=("loss", "lr", "input_absmax"),
)
