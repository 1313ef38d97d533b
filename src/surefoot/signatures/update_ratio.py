"""Abnormal update ratio: updates far too large or too small for the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from surefoot.signatures.learning import Learning, at_chance, learning
from surefoot.signatures.profile import Profile, relative
from surefoot.signatures.statistics import level
from surefoot.types import Event, Evidence, Facts, Finding, Series, Signature

HIGH = 0.1
SOURCE_HIGH = (
    "a tenth of the weights replaced at every step; healthy runs stay below after "
    "their first steps (benchmarks/calibrate_signatures.py); about 1e-3 is usual "
    "(Karpathy 2015; You et al. 2017)"
)
LOW_TRAVEL = 0.03
SOURCE_LOW = (
    "sum of all update ratios: the weights cannot have moved by more than this share "
    "of their size since the start (benchmarks/calibrate_signatures.py)"
)
FEWEST_STEPS = 50


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding if updates are too large, or one if they are too small."""
    profile = relative(series, facts, "update_norm")
    if profile is None or profile.steps.size < 3:
        return []
    course = learning(series, facts)
    return _too_large(profile, course, facts) or _too_small(
        profile, course, series, facts
    )


def _too_large(profile: Profile, course: Learning, facts: Facts) -> list[Finding]:
    """Most weights are replaced every few steps, for a third of the readings."""
    middle = np.nanmedian(np.where(np.isnan(profile.values), 0, profile.values), axis=1)
    high = middle > HIGH
    if high.mean() < 1 / 3 and not (course.trouble and high.sum() >= 2):
        return []
    begin = int(np.flatnonzero(high)[0])
    per_layer = np.nanmedian(np.where(high[:, None], profile.values, np.nan), axis=0)
    order = np.argsort(-np.nan_to_num(per_layer))
    layers = tuple(profile.layers[i] for i in order if per_layer[i] > HIGH)
    onset = int(profile.steps[begin])
    observed = level(middle[high])
    name = f"update_norm / weight_norm, median over layers, from step {onset}"
    return [
        Finding(
            signature="update_ratio",
            layer="run",
            onset=onset,
            severity="critical" if course.trouble else "info",
            evidence=(Evidence(name, observed, HIGH, SOURCE_HIGH),),
            layers=layers,
            stream=facts.stream,
            detail={"kind": "high", "ratio": observed},
        )
    ]


def _too_small(
    profile: Profile, course: Learning, series: Mapping[str, Series], facts: Facts
) -> list[Finding]:
    """The weights cannot have moved since the start, and the loss did not either."""
    if course.state == "unknown" or course.steps < FEWEST_STEPS:
        return []
    gaps = np.diff(profile.steps, append=profile.steps[-1] + 1).astype(np.float64)
    travel = np.nansum(profile.values * gaps[:, None], axis=0)
    if travel.max() > LOW_TRAVEL:
        return []
    slow = course.state == "stuck" and at_chance(course)
    ratio = level(profile.values.max(axis=1))
    name = "path of the weights over their size, layer that moved most"
    return [
        Finding(
            signature="update_ratio",
            layer="run",
            onset=int(profile.steps[0]),
            severity="warning" if slow else "info",
            evidence=(Evidence(name, float(travel.max()), LOW_TRAVEL, SOURCE_LOW),),
            layers=profile.layers,
            stream=facts.stream,
            detail={"kind": "low", "ratio": ratio, "travel": float(travel.max())},
        )
    ]


SIGNATURE = Signature(
    name="update_ratio",
    about="Updates are far too large or too small for the weights that they change.",
    needs=("update_norm", "weight_norm"),
    detect=detect,
    uses=("loss",),
)
