"""How the run is doing: its loss comes in, a verdict on its progress goes out.

Most symptoms are harmless in a run that learns well, so every signature asks here
before it raises an alarm. Nothing in it depends on the unit of the loss, which may
be huge, tiny or negative.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from surefoot.signatures import network
from surefoot.signatures.statistics import Array, block_levels, level, noise, slope
from surefoot.types import Facts, Series

State = Literal["unknown", "learning", "stuck", "lost", "diverged"]

SHORTEST = 30
"""Steps before which nothing is said about progress: with batch noise of a tenth of
the loss, a fall of 5 % is significant (4 σ) after about 2 x 16 steps."""

SIGNIFICANT = 4.0
"""Standard errors that count as a change: 1 in 30,000 by chance (Gaussian)."""

LOST_SHARE = 0.5
"""Share of the progress whose loss is damage: benchmarks/calibrate_signatures.py."""

CHANCE = (0.95, 1.25)
"""Loss over ln C (cross-entropy of a guess among C classes) that counts as a guess:
the prior of uneven classes lies below ln C, noise lifts it."""


@dataclass(frozen=True, slots=True)
class Learning:
    """The course of the loss: levels are medians over `width` steps.

    `start` is the level of the first steps, `best` the lowest level, `last` that of
    the final steps, `noise` the deviation from batch to batch. `chance` is the loss
    of a guess, NaN where it is unknown. `onset` is the step at which the state
    began.
    """

    state: State
    onset: int
    steps: int
    start: float
    best: float
    last: float
    noise: float
    chance: float

    @property
    def trouble(self) -> bool:
        """Whether the run is doing badly, so that a symptom is worth an alarm."""
        return self.state in ("stuck", "lost", "diverged")

    @property
    def gain(self) -> float:
        """What the run has won at its best, in units of the loss; 0 if nothing."""
        return max(0.0, self.start - self.best)


UNKNOWN = Learning("unknown", 0, 0, 0.0, 0.0, 0.0, 0.0, float("nan"))


def learning(series: Mapping[str, Series], facts: Facts) -> Learning:
    """The verdict on the progress of one stream."""
    loss = series.get("loss")
    if loss is None or loss.steps.size == 0:
        return UNKNOWN
    values = loss.values[:, 0].astype(np.float64)
    keep = np.isfinite(values)
    values, steps = values[keep], loss.steps[keep]
    if values.size < SHORTEST:
        return UNKNOWN
    width = block_width(values.size)
    levels = block_levels(values, width)
    course = Learning(
        state="learning",
        onset=int(steps[0]),
        steps=int(values.size),
        start=level(values[:3]),
        best=float(levels.min()),
        last=level(values[-width:]),
        noise=local_noise(values, width),
        chance=chance(facts),
    )
    state = _state(course, values, width)
    onset = _onset(state, levels) * width
    return replace(course, state=state, onset=int(steps[min(onset, len(steps) - 1)]))


def block_width(count: int) -> int:
    """Steps in a block: a twentieth of the run, between 5 and 200."""
    return min(max(5, count // 20), 200)


def local_noise(values: Array, width: int) -> float:
    """Noise of the final steps, where levels are compared."""
    return noise(values[-max(4 * width, 20) :])


def chance(facts: Facts) -> float:
    """Loss of a guess: ln C for C outputs, ln 2 for one; NaN if unknown."""
    count = network.outputs(facts)
    if count == 0:
        return float("nan")
    return math.log(max(count, 2))


def at_chance(course: Learning) -> bool:
    """Whether the final level is the cross-entropy of a guess."""
    low, high = CHANCE
    return bool(low * course.chance <= course.last <= high * course.chance)


def _state(course: Learning, values: Array, width: int) -> State:
    error = course.noise * math.sqrt(1 / 3 + 1 / width)
    won = course.start - course.best
    lost = course.last - course.best
    if course.last - course.start > max(SIGNIFICANT * error, 0.05 * abs(course.start)):
        return "diverged"
    flat = slope(values[-values.size // 2 :])[1] > -SIGNIFICANT
    if at_chance(course) and flat:
        return "lost" if course.best < CHANCE[0] * course.chance else "stuck"
    if course.start - course.last < SIGNIFICANT * error and flat:
        if won > 2 * SIGNIFICANT * error:
            return "lost"
        return "stuck"
    if lost > LOST_SHARE * won and lost > SIGNIFICANT * error:
        return "lost"
    return "learning"


def _onset(state: State, levels: Array) -> int:
    """Block in which the state began."""
    if state in ("lost", "diverged"):
        return int(np.argmin(levels))
    return 0
