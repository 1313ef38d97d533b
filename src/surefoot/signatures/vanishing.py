"""Vanishing gradients: they fade by decades on their way to the input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from surefoot.signatures.learning import Learning, learning
from surefoot.signatures.profile import Profile, decades, relative
from surefoot.signatures.statistics import Array, Mask, median_over_time, since
from surefoot.types import Event, Evidence, Facts, Finding, Series, Severity, Signature

Places = npt.NDArray[np.intp]

BOUND = 1e-3
SOURCE = (
    "relative gradient against the layer where it is largest, in a run that does not "
    "learn: 1e-3 is the first/last ratio of AutoTrainer (Zhang et al. 2021); healthy "
    "runs stay above 5e-3 (benchmarks/zoo)"
)
FEWEST = 3
"""Weight matrices that a profile needs."""
FIRST_READINGS = 3
LATE = 0.05
PATIENCE = 30
"""Share and number of steps at a guess from which a run that learnt at last has
started late."""
SEVERAL = 2
LONG_PATIENCE = 100
"""Layers, and steps, from which fading that lasts is harm although the loss falls: the
others learn alone. One of 1,121 healthy runs had a layer faded to the end."""


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding for the layers whose gradient has faded."""
    profile = relative(series, facts, "grad_norm")
    if profile is None or len(profile.layers) < FEWEST:
        return []
    course = learning(series, facts)
    begin, end = int(profile.steps[0]), int(profile.steps[-1]) + 1
    row = profile.level(begin + 3 * (end - begin) // 4, end)
    lasting = int(_faded(row).sum())
    if not lasting:
        row = median_over_time(profile.values[:FIRST_READINGS])
    places = np.flatnonzero(_faded(row))
    if places.size == 0:
        return []
    place = _origin(row, places)
    return [
        Finding(
            signature="vanishing_gradients",
            layer=profile.layers[place],
            onset=_onset(profile, places),
            severity=_severity(course, lasting),
            evidence=_evidence(profile, row, place),
            layers=tuple(profile.layers[i] for i in places),
            stream=facts.stream,
            detail={"decades": float(np.ptp(decades(row[np.isfinite(row)])))},
        )
    ]


def _severity(course: Learning, lasting: int) -> Severity:
    """Harmful where nothing was learnt, or late, or by the last layers alone.

    `lasting` counts the layers that are faded to the end of the record.
    """
    if course.trouble:
        return "critical"
    if course.state == "unknown":
        return "info"
    late = course.waited > max(PATIENCE, LATE * course.steps)
    several = lasting >= SEVERAL and course.steps >= LONG_PATIENCE
    return "warning" if late or several else "info"


def _faded(row: Array) -> Mask:
    """Layers whose gradient is far below the largest, from the input on.

    All of them: what fades on its way to the input does not come back. A single layer
    with a small gradient is something else, such as the recurrent weights of a
    direction that is read after one step.
    """
    if not np.isfinite(row).any():
        return np.zeros(row.shape, dtype=bool)
    peak = int(np.nanargmax(row))
    low = ~(row >= BOUND * row[peak])
    low[peak:] = False
    return np.logical_and.accumulate(low) & np.isfinite(row)


def _origin(row: Array, places: Places) -> int:
    """Where the fading starts: at the one big drop if there is one.

    A gradient that fades evenly has no such place; then it is the layer where the
    least is left.
    """
    known = np.flatnonzero(np.isfinite(row))
    path = known[(known >= places[0]) & (known <= np.nanargmax(row))]
    drops = np.diff(decades(row[path]))
    biggest = int(np.argmax(drops))
    if drops[biggest] > 0.5 * drops.sum():
        return int(path[biggest])
    return int(places[np.argmin(row[places])])


def _onset(profile: Profile, places: Places) -> int:
    """First step from which these layers stay faded; the first if they recovered."""
    clean = np.nan_to_num(profile.values)
    faded = clean[:, places] <= BOUND * clean.max(axis=1)[:, None]
    low = faded.mean(axis=1) > 0.5
    return int(profile.steps[since(low) or 0])


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
