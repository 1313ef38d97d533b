"""Abnormal update ratio: updates far too large or too small for the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from surefoot.signatures.learning import Learning, learning
from surefoot.signatures.profile import Profile, relative, travelled
from surefoot.signatures.statistics import level, median_over_time
from surefoot.types import Event, Evidence, Facts, Finding, Series, Severity, Signature

HIGH = 0.1
REPLACED = 0.5
SOURCE_HIGH = (
    "half of a layer replaced in one step, or a tenth of the median layer in several; "
    "healthy runs stay below 0.43 in their first step and below 0.1 from the third "
    "reading on (benchmarks/zoo); about 1e-3 is usual (Karpathy "
    "2015; You et al. 2017)"
)
OVERSHOOT = 0.25
"""Rise of the loss over its start, as a share of it, in the first steps: none of our
healthy runs with large first updates had any."""
CRAWL = 0.1
"""Share of the loss of a guess that a run wins while its weights stay in place: less
is slower than any healthy run of ours."""
SETTLING = 2
"""Readings at the start in which updates of a tenth are common."""
LOW_TRAVEL = 0.03
SOURCE_LOW = (
    "sum of all update ratios: the weights cannot have moved by more than this share "
    "of their size since the start; healthy runs move by 0.1 and more "
    "(benchmarks/zoo)"
)
LOST_IN_ROUNDING = float(np.finfo(np.float32).eps)
FEWEST_STEPS = 50


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding if updates are too large, or one if they are too small."""
    profile = relative(series, facts, "update_norm")
    if profile is None or not np.isfinite(profile.values).any():
        return []
    course = learning(series, facts)
    return _too_large(profile, course, facts) or _too_small(profile, course, facts)


def _too_large(profile: Profile, course: Learning, facts: Facts) -> list[Finding]:
    """Layers that are replaced at once, or all within a few steps."""
    middle = median_over_time(profile.values.T)
    top = np.max(np.nan_to_num(profile.values), axis=1)
    often = (middle > HIGH) & (np.arange(middle.size) >= SETTLING)
    high = (top > REPLACED) | (often if often.sum() > 1 else False)
    if not high.any():
        return []
    begin = int(np.flatnonzero(high)[0])
    per_layer = np.max(np.nan_to_num(profile.values[high]), axis=0)
    order = np.argsort(-per_layer)
    layers = tuple(profile.layers[i] for i in order if per_layer[i] > HIGH)
    onset = int(profile.steps[begin])
    observed = float(top[high].max())
    name = f"update_norm / weight_norm of {layers[0]}, from step {onset}"
    return [
        Finding(
            signature="update_ratio",
            layer="run",
            onset=onset,
            severity=_severity(course),
            evidence=(Evidence(name, observed, REPLACED, SOURCE_HIGH),),
            layers=layers,
            stream=facts.stream,
            detail={"kind": "high", "ratio": observed},
        )
    ]


def _severity(course: Learning) -> Severity:
    """Damage where nothing is won; likely harm where the loss first shot up."""
    if course.idle:
        return "critical"
    return "warning" if course.overshoot > OVERSHOOT else "info"


def _too_small(profile: Profile, course: Learning, facts: Facts) -> list[Finding]:
    """The weights cannot have moved since the start, and the loss did not either."""
    if course.state == "unknown" or course.steps < FEWEST_STEPS:
        return []
    travel = float(travelled(profile).max())
    if travel > LOW_TRAVEL:
        return []
    ratio = level(np.max(np.nan_to_num(profile.values), axis=1))
    rounded = course.state == "settled" and 0 < ratio < LOST_IN_ROUNDING
    won = course.gain / abs(course.start) if course.start else 1.0
    crawls = course.guessed_first and won < CRAWL
    harmful = course.state == "stuck" or rounded or crawls
    name = "path of the weights over their size, layer that moved most"
    return [
        Finding(
            signature="update_ratio",
            layer="run",
            onset=int(profile.steps[0]),
            severity="warning" if harmful else "info",
            evidence=(Evidence(name, travel, LOW_TRAVEL, SOURCE_LOW),),
            layers=profile.layers,
            stream=facts.stream,
            detail={"kind": "low", "ratio": ratio, "travel": travel},
        )
    ]


SIGNATURE = Signature(
    name="update_ratio",
    about="Updates are far too large or too small for the weights that they change.",
    needs=("update_norm", "weight_norm"),
    detect=detect,
    uses=("loss",),
)
