"""Vanishing gradients: they fade by decades on their way to the input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from surefoot.signatures.learning import learning
from surefoot.signatures.profile import Profile, decades, relative
from surefoot.signatures.statistics import Array, Mask
from surefoot.types import Event, Evidence, Facts, Finding, Series, Severity, Signature

Places = npt.NDArray[np.intp]

BOUND = 1e-3
SOURCE = (
    "relative gradient against the layer where it is largest; 1e-3 is the first/last "
    "ratio of AutoTrainer (Zhang et al. 2021), here asked only of runs that do not "
    "learn"
)
FEWEST = 3
"""Weight matrices that a profile needs."""


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding for the layers whose gradient has faded."""
    profile = relative(series, facts, "grad_norm")
    if profile is None or len(profile.layers) < FEWEST:
        return []
    course = learning(series, facts)
    begin, end = int(profile.steps[0]), int(profile.steps[-1]) + 1
    late = profile.level(begin + 3 * (end - begin) // 4, end)
    faded = _faded(late)
    if not faded.any():
        return []
    places = np.flatnonzero(faded)
    place = _origin(late, places)
    severity: Severity = "critical" if course.trouble else "info"
    return [
        Finding(
            signature="vanishing_gradients",
            layer=profile.layers[place],
            onset=_onset(profile, places),
            severity=severity,
            evidence=_evidence(profile, late, place),
            layers=tuple(profile.layers[i] for i in places),
            stream=facts.stream,
            detail={"decades": float(np.ptp(decades(late[np.isfinite(late)])))},
        )
    ]


def _faded(row: Array) -> Mask:
    """Layers before the one with the largest relative gradient that are far below."""
    if not np.isfinite(row).any():
        return np.zeros(row.shape, dtype=bool)
    peak = int(np.nanargmax(row))
    below = row < BOUND * row[peak]
    below[peak:] = False
    return below


def _origin(row: Array, places: Places) -> int:
    """Where the fading starts: at the one big drop if there is one.

    A gradient that fades evenly has no such place; then it is the layer where the
    least is left.
    """
    depth = decades(row)
    drops = np.diff(depth[places[0] : places[-1] + 2])
    total = float(np.nansum(drops))
    if drops.size and np.nanmax(drops) > 0.5 * total:
        return int(places[0] + np.nanargmax(drops))
    return int(places[np.nanargmin(depth[places])])


def _onset(profile: Profile, places: Places) -> int:
    """First step from which these layers stay faded."""
    peak = np.nanmax(np.where(np.isnan(profile.values), -1, profile.values), axis=1)
    part = profile.values[:, places]
    low = np.all((part < BOUND * peak[:, None]) | np.isnan(part), axis=1)
    high = np.flatnonzero(~low)
    if high.size == 0 or high.size > 0.5 * low.size:
        return int(profile.steps[0])
    return int(profile.steps[min(int(high[-1]) + 1, low.size - 1)])


def _evidence(profile: Profile, row: Array, place: int) -> tuple[Evidence, ...]:
    peak = int(np.nanargmax(row))
    name = (
        f"grad_norm / weight_norm of {profile.layers[place]}, last quarter "
        f"({profile.layers[peak]}: {row[peak]:.3g})"
    )
    return (Evidence(name, float(row[place]), BOUND * float(row[peak]), SOURCE),)


SIGNATURE = Signature(
    name="vanishing_gradients",
    about="Gradients fade on their way to the input, so early layers do not train.",
    needs=("grad_norm", "weight_norm"),
    detect=detect,
    uses=("loss",),
)
