"""Divergence: the loss climbs out of the range it had reached, and stays there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from surefoot.signatures.context import around
from surefoot.signatures.learning import Learning, learning
from surefoot.signatures.statistics import Array
from surefoot.types import Event, Evidence, Facts, Finding, Series, Signature

SOURCE = (
    "half of the progress lost for good, or a loss above that of the untrained "
    "network (benchmarks/calibrate_signatures.py)"
)


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding where the loss ends far above its best level."""
    course = learning(series, facts)
    if course.state not in ("lost", "diverged"):
        return []
    loss = series["loss"]
    values = loss.values[:, 0].astype(np.float64)
    onset = int(loss.steps[_climb(values, course)])
    name = f"loss, final level (best {course.best:.4g}, start {course.start:.4g})"
    bound = (
        course.start if course.state == "diverged" else course.best + course.gain / 2
    )
    detail = {"state": course.state, **around(series, onset)}
    return [
        Finding(
            signature="divergence",
            layer="run",
            onset=onset,
            severity="critical",
            evidence=(Evidence(name, course.last, bound, SOURCE),),
            layers=("run",),
            stream=facts.stream,
            detail=detail,
        )
    ]


def _climb(values: Array, course: Learning) -> int:
    """Position where the loss left its best level for the last time."""
    clean = np.where(np.isfinite(values), values, np.inf)
    half = course.best + max(0.25 * (course.last - course.best), 2 * course.noise)
    low = clean <= half
    smooth = np.convolve(low, np.ones(5) / 5, "same") > 0.5
    places = np.flatnonzero(smooth)
    if places.size == 0:
        return int(np.argmin(clean))
    near = max(0, int(places[-1]) - 2)
    beyond = np.flatnonzero(~low[near:])
    return near + int(beyond[0]) if beyond.size else len(values) - 1


SIGNATURE = Signature(
    name="divergence",
    about="The loss leaves the level it had reached and does not come back.",
    needs=("loss",),
    detect=detect,
    uses=("lr", "grad_norm", "input_absmax"),
)
