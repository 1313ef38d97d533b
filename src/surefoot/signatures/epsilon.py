"""Epsilon dominance: Adam's epsilon is larger than the gradients it divides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from surefoot.signatures import network
from surefoot.signatures.learning import learning
from surefoot.signatures.profile import columns
from surefoot.signatures.statistics import Array, level
from surefoot.types import Event, Evidence, Facts, Finding, Series, Severity, Signature

BOUND = 3.0
SOURCE = (
    "epsilon over the RMS of the gradient's elements, median over weights: Adam's "
    "update is lr * m / (sqrt(v) + eps), so at 3 three quarters of its length are gone "
    "(Kingma & Ba 2015; Wortsman et al. 2023, arXiv:2309.14322)"
)
READINGS = 20
USUAL = 1e-6
"""Up to here a small gradient is the fault, and not epsilon."""
LITTLE = 0.25
"""Share of the first loss that is gone: less is slow."""


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding if epsilon is the larger from the first steps on, in most weights."""
    epsilon = facts.options.get("eps")
    adaptive = "betas.1" in facts.options or "alpha" in facts.options
    if not isinstance(epsilon, int | float) or not adaptive:
        return []
    grads = series["grad_norm"]
    size = element_size(grads, facts)
    if size.size == 0 or np.isnan(size[:READINGS]).all():
        return []
    usual = level(size[:READINGS])
    observed = float(epsilon) / usual if usual > 0 else 0.0
    if observed < BOUND:
        return []
    course = learning(series, facts)
    won = course.gain / abs(course.start) if course.start else 1.0
    slow = course.idle or won < LITTLE
    severity: Severity = "warning" if slow and epsilon > USUAL else "info"
    return [
        Finding(
            signature="epsilon",
            layer="run",
            onset=int(grads.steps[0]),
            severity=severity,
            evidence=(
                Evidence(
                    "eps / RMS of the gradient, first steps", observed, BOUND, SOURCE
                ),
            ),
            layers=("run",),
            stream=facts.stream,
        )
    ]


def element_size(grads: Series, facts: Facts) -> Array:
    """RMS of the elements of the gradient, median over weights, shape `[n]`."""
    size = {one.name: one.size for one in facts.parameters}
    layers = tuple(name for name in network.weights(facts) if name in grads.layers)
    if not layers:
        return np.empty(0)
    root = np.sqrt(np.asarray([max(1, size[name]) for name in layers]))
    values = columns(grads, layers) / root
    return np.asarray([level(row, np.nan) for row in values[: 5 * READINGS]])


SIGNATURE = Signature(
    name="epsilon",
    about="Adam's epsilon is larger than the gradients, so its steps are short.",
    needs=("grad_norm",),
    detect=detect,
    uses=("loss",),
)
