"""Over-regularised: weight decay, or dropout, is stronger than what the data teach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from surefoot.signatures import network
from surefoot.signatures.learning import Learning, learning
from surefoot.signatures.profile import columns
from surefoot.signatures.statistics import level, median_over_time
from surefoot.types import Event, Evidence, Facts, Finding, Series, Signature

SHRUNK = 0.5
DROPPED = 0.8
FITTED = 0.5
SOURCE = (
    "last weight_norm over the first, median over weights, while weight_decay is on "
    "and the loss stays high (Krogh & Hertz 1992; healthy runs keep 0.7 and more: "
    "benchmarks/zoo)"
)
SOURCE_DROPOUT = (
    "largest probability of dropout (Srivastava et al. 2014 use 0.5; benchmarks/zoo)"
)


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding if the run does not fit its own data and a penalty is why."""
    course = learning(series, facts)
    if course.state == "unknown" or _fits(course):
        return []
    return _decay(series, facts) or _dropout(facts)


def _fits(course: Learning) -> bool:
    """Whether the training loss fell to half of that of a guess, or of its start."""
    guess = course.chance if np.isfinite(course.chance) else course.start
    return course.last < FITTED * guess


def _decay(series: Mapping[str, Series], facts: Facts) -> list[Finding]:
    decay = facts.options.get("weight_decay")
    sizes = series.get("weight_norm")
    if not isinstance(decay, int | float) or decay <= 0 or sizes is None:
        return []
    layers = tuple(name for name in network.weights(facts) if name in sizes.layers)
    if not layers or sizes.steps.size < 3:
        return []
    values = columns(sizes, layers)
    with np.errstate(divide="ignore", invalid="ignore"):
        left = median_over_time(values[-2:]) / values[0]
    observed = level(left, 1.0)
    if observed > SHRUNK:
        return []
    name = f"weight_norm left of the start (weight_decay {decay:g})"
    return [_finding(name, observed, SHRUNK, SOURCE, "decay", facts)]


def _dropout(facts: Facts) -> list[Finding]:
    found = [
        (m.settings.get("p", 0.0), m) for m in facts.modules if "Dropout" in m.kind
    ]
    if not found:
        return []
    share, module = max(found, key=lambda pair: pair[0])
    if share < DROPPED:
        return []
    name = f"p of {module.name}"
    one = _finding(name, share, DROPPED, SOURCE_DROPOUT, "Dropout", facts)
    return [one]


def _finding(
    name: str, observed: float, bound: float, source: str, kind: str, facts: Facts
) -> Finding:
    return Finding(
        signature="over_regularised",
        layer="run",
        onset=0,
        severity="warning",
        evidence=(Evidence(name, observed, bound, source),),
        layers=("run",),
        stream=facts.stream,
        detail={"kind": kind},
    )


SIGNATURE = Signature(
    name="over_regularised",
    about="Weight decay or dropout holds the network back from its own data.",
    needs=("loss",),
    detect=detect,
    uses=("weight_norm",),
)
