"""Divergence: the loss climbs out of the range it had reached, and stays there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from surefoot.signatures.context import JUMPED, SURE_JUMP, around
from surefoot.signatures.learning import Learning, learning
from surefoot.signatures.loss_spike import PATIENCE, spikes
from surefoot.signatures.profile import relative
from surefoot.signatures.statistics import Array, level
from surefoot.types import Event, Evidence, Facts, Finding, Series, Signature

SOURCE = (
    "half of the progress lost for good, or a loss above that of the untrained "
    "network (benchmarks/zoo)"
)
FAR = 3.0
"""Times the first loss that the last one lies above it: no target of a learning
agent moves as far within a run (benchmarks/zoo)."""
REPLACED = 0.5
NEAR_STEPS = 15


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding where the loss ends far above its best level."""
    course = learning(series, facts)
    if course.state not in ("lost", "diverged"):
        return []
    loss = series["loss"]
    values = loss.values[:, 0].astype(np.float64)
    place = _begin(values, course)
    onset = int(loss.steps[place])
    name = f"loss, final level (best {course.best:.4g}, start {course.start:.4g})"
    half = course.best + course.gain / 2
    bound = course.start if course.state == "diverged" else half
    context = around(series, onset)
    abrupt = _abrupt(values, place, course)
    stays = abrupt and len(values) - place > PATIENCE
    far = _far(values[:place], course)
    sure = _sure(course, context) or _overshoots(series, facts, onset)
    harmful = (
        (stays or far or sure) and facts.stream == "main" and not context["restart"]
    )
    return [
        Finding(
            signature="divergence",
            layer="run",
            onset=onset,
            severity="critical" if harmful else "info",
            evidence=(Evidence(name, course.last, bound, SOURCE),),
            layers=("run",),
            stream=facts.stream,
            detail={"kind": course.state, "abrupt": abrupt, **context},
        )
    ]


def _begin(values: Array, course: Learning) -> int:
    """Position where the climb began: at a jump that never came back, if any."""
    lasting = [spike.first for spike in spikes(values) if not spike.back]
    climb = _climb(values, course)
    return min([*lasting, climb])


def _climb(values: Array, course: Learning) -> int:
    """Position where the loss left its best level for the last time."""
    clean = np.where(np.isfinite(values), values, np.inf)
    quarter = 0.25 * (course.last - course.best)
    low = clean <= course.best + max(quarter, 2 * course.error)
    smooth = np.convolve(low, np.ones(5) / 5, "same") > 0.5
    places = np.flatnonzero(smooth)
    if places.size == 0:
        return int(np.argmin(clean))
    near = max(0, int(places[-1]) - 2)
    beyond = np.flatnonzero(~low[near:])
    return near + int(beyond[0]) if beyond.size else len(values) - 1


def _abrupt(values: Array, place: int, course: Learning) -> bool:
    """Whether half of the rise, or of the progress, went within one step."""
    before = level(values[max(0, place - 5) : place], course.best)
    after = level(values[place : place + 5], course.best)
    rise = min(course.last - course.best, max(course.gain, course.error))
    return bool(after - before > 0.5 * rise)


def _sure(course: Learning, context: Mapping[str, float | bool]) -> bool:
    """Whether the rise is more than the drift of a moving target.

    The loss of an agent that learns, or of one of two adversaries, may climb while
    all is well: then nothing jumps, and the loss is not that of a guess.
    """
    jumped = context["lr_ratio"] > JUMPED or context["input_ratio"] > SURE_JUMP
    guess = course.last > 0.95 * course.chance and course.start < 1.1 * course.chance
    return bool(jumped or guess)


def _far(before: Array, course: Learning) -> bool:
    """Whether the loss ends far above where it started, and above all it was since."""
    far = course.last > course.start + FAR * abs(course.start)
    return bool(far and course.last > np.nanmax(before, initial=-np.inf))


def _overshoots(series: Mapping[str, Series], facts: Facts, onset: int) -> bool:
    """Whether some layer is replaced in a single step near or after the onset."""
    profile = relative(series, facts, "update_norm")
    if profile is None:
        return False
    late = profile.values[profile.steps >= onset - NEAR_STEPS]
    return bool((late > REPLACED).any())


SIGNATURE = Signature(
    name="divergence",
    about="The loss leaves the level it had reached and does not come back.",
    needs=("loss",),
    detect=detect,
    uses=("lr", "grad_norm", "input_absmax"),
)
