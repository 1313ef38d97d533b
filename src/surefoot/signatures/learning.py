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
from surefoot.signatures.statistics import (
    Array,
    Mask,
    block_levels,
    level,
    noise,
    slope,
)
from surefoot.types import Facts, Series

State = Literal["unknown", "learning", "settled", "stuck", "lost", "diverged", "broken"]
"""unknown: too short to tell. learning: the loss is below where it started.
settled: it is where it started and no longer falls, which may be success. stuck: it
is that of a guess. lost: it has lost most of what it had won. diverged: it is far
above where it started. broken: it is not finite."""

SHORTEST = 30
"""Steps before which nothing is said about progress: with batch noise of a tenth of
the loss, a fall of 5 % is significant (4 σ) after about 2 x 16 steps."""

SIGNIFICANT = 4.0
"""Standard errors that count as a change: 1 in 30,000 by chance (Gaussian)."""

LOST_SHARE = 0.5
"""Share of the progress whose loss is damage: benchmarks/zoo."""

CHANCE = 0.01
"""A loss no more than 1 % below that of a guess is that of a guess: a network that
has learned the class frequencies and nothing else."""

BLIND = 0.025
"""Progress, as a share of the loss, that must be visible before its absence counts."""

CHANCE_NOISE = 1.25
"""A loss more than a quarter above that of a guess is something else."""


FIRST_STEPS = 60
HIGH_START = 3.0
"""First loss over that of a guess: the pre-flight bound of our autopilot study."""


@dataclass(frozen=True, slots=True)
class Learning:
    """The course of the loss: levels are medians over a twentieth of the run.

    `start` is the level of the first steps, `best` the lowest level, `last` that of
    the final steps, `error` the uncertainty of such a level. `chance` is the loss
    of a guess, NaN where it is unknown, `waited` the number of steps that the loss
    stayed at the start, or at a guess, before it fell, `overshoot` the rise over the
    first loss in the first steps, as a share of its size. `first` is the very first
    loss, `onset` the step at which the state began.
    """

    state: State
    onset: int
    steps: int
    start: float
    best: float
    last: float
    error: float
    chance: float
    waited: int = 0
    overshoot: float = 0.0
    first: float = float("nan")

    @property
    def trouble(self) -> bool:
        """Whether the run is doing badly, so that a symptom is worth an alarm."""
        return self.state in ("stuck", "lost", "diverged", "broken")

    @property
    def idle(self) -> bool:
        """Whether nothing is won: trouble, or a loss that no longer falls."""
        return self.trouble or self.state == "settled"

    @property
    def high_start(self) -> bool:
        """Whether the first loss is far above that of a guess.

        Says nothing on its own: a regression may begin at any loss.
        """
        return max(self.start, self.first) > HIGH_START * self.chance

    @property
    def guessed_first(self) -> bool:
        """Whether the first loss was that of a guess, as cross-entropy begins."""
        return 0.8 * self.chance < self.start < CHANCE_NOISE * self.chance

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
    if not keep[-1]:
        first = int(loss.steps[last_true(keep) + 1])
        return replace(UNKNOWN, state="broken", onset=first, steps=int(keep.size))
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
        first=float(values[0]),
        best=float(levels.min()),
        last=level(values[-width:]),
        error=_error(values, levels, width),
        chance=chance(facts),
    )
    state = _state(course, values)
    late = state in ("lost", "diverged")
    onset = int(np.argmin(levels)) * width if late else 0
    return replace(
        course,
        state=state,
        onset=int(steps[min(onset, len(steps) - 1)]),
        waited=_waited(course, levels) * width,
        overshoot=_overshoot(values),
    )


def block_width(count: int) -> int:
    """Steps in a block: a twentieth of the run, between 5 and 200."""
    return min(max(5, count // 20), 200)


def last_true(mask: Mask) -> int:
    """Position of the last True, -1 if there is none."""
    places = np.flatnonzero(mask)
    return int(places[-1]) if places.size else -1


def chance(facts: Facts) -> float:
    """Loss of a guess: ln C for C outputs; NaN if unknown, or for a single output.

    A single output is a probability or, as likely, any number.
    """
    count = network.outputs(facts)
    return math.log(count) if count > 1 else float("nan")


def _error(values: Array, levels: Array, width: int) -> float:
    """Uncertainty of a level: from batch to batch, or from block to block if larger.

    Losses with heavy tails (tiny batches) wobble more than their robust noise says.
    """
    batch = noise(values[-max(4 * width, 20) :]) * math.sqrt(1 / 3 + 1 / width)
    return max(batch, noise(levels))


def _overshoot(values: Array) -> float:
    """Largest rise over the first loss within `FIRST_STEPS`, over its magnitude."""
    first = float(values[0])
    rise = float(values[:FIRST_STEPS].max()) - first
    return rise / abs(first) if first else 0.0


def _waited(course: Learning, levels: Array) -> int:
    """Blocks before the loss first fell below its start, or below a guess."""
    usual = course.start if math.isnan(course.chance) else course.chance
    floor = min(course.start, usual) - 0.1 * max(
        0.0, min(course.start, usual) - course.best
    )
    below = np.flatnonzero(levels < floor)
    return int(below[0]) if below.size else len(levels)


def _state(course: Learning, values: Array) -> State:
    above = course.last - course.start
    far = max(0.05 * abs(course.start), LOST_SHARE * course.gain)
    if above > max(SIGNIFICANT * course.error, far):
        return "diverged"
    flat = slope(values[-values.size // 2 :])[1] > -SIGNIFICANT
    lost = course.last - course.best
    sank = lost > 2 * SIGNIFICANT * course.error
    if _guesses(course, values) and flat:
        guessed_all_along = course.best > (1 - 2 * CHANCE) * course.chance
        return "lost" if sank and not guessed_all_along else "stuck"
    if sank and lost > LOST_SHARE * course.gain:
        return "lost"
    if -above < SIGNIFICANT * course.error and flat:
        return "settled"
    return "learning"


def _guesses(course: Learning, values: Array) -> bool:
    """Whether the second half of the loss is the cross-entropy of a guess.

    Also if it began above: then it has come down to a guess and no further. False
    where the noise is too large to see progress of a few percent.
    """
    tail = values[-max(values.size // 2, 5) :]
    error = 1.25 * noise(tail) / math.sqrt(tail.size)
    guess = min(course.start, course.chance)
    below = guess - level(tail)
    near = course.last <= CHANCE_NOISE * course.chance
    high = course.start >= 0.9 * course.chance
    blind = SIGNIFICANT * error > BLIND * guess
    level_of_guess = below <= max(SIGNIFICANT * error, CHANCE * guess)
    return bool(near and high and level_of_guess and not blind)
