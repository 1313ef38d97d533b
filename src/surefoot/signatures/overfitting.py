"""Overfitting: the held-out loss rises while the training loss goes on falling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from surefoot.signatures.learning import chance
from surefoot.signatures.metrics import held_out
from surefoot.signatures.statistics import Array, level, noise, slope
from surefoot.types import Event, Evidence, Facts, Finding, Series, Signature

FEWEST = 5
RISE = 0.1
READINGS = 3
WIDE = 0.22
WORSE = 0.03
LEARNT = 0.05
"""Gap between both losses as a share of a guess, with a held-out loss a little worse
than its best, and a training loss near zero: healthy small runs stay below 0.2."""
STEADY = 4.0
"""t value of the slope after the best reading that makes a steady rise."""
FELL = 0.8
FITTED = 0.25
"""Share of the training loss that is left where the network has learnt its data."""
SOURCE = (
    "a tenth of what was won since the first loss, and 4 deviations of the noise "
    "(Prechelt 1998 stops on such a generalisation loss; benchmarks/zoo)"
)


@dataclass(frozen=True, slots=True)
class Generalisation:
    """The course of a held-out loss: `gap` is its last level over its best.

    `after` counts the readings since the best one.
    """

    name: str
    best: float
    last: float
    won: float
    at: int
    error: float
    after: int

    @property
    def gap(self) -> float:
        """How far the held-out loss has risen above its best."""
        return self.last - self.best


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding for the held-out loss that rose most."""
    courses = [
        one
        for name in held_out(series["metric"], "loss")
        if (one := course(series["metric"], name, _stake(series, facts)))
    ]
    first = _first(series["loss"])
    guess = _guess(first, facts)
    left = level(series["loss"].values[-20:])
    # Against a guess only where the loss began as one, as a cross-entropy does.
    learnt = 0 <= left < FITTED * guess and first > 0.5 * guess
    risen = [
        one
        for one in courses
        if (_risen(one) and _still_falls(series["loss"], one.at))
        or (learnt and (one.last > guess or _wide(one, left, guess)))
    ]
    if not risen:
        return []
    worst = max(risen, key=lambda one: one.gap / max(one.won, one.error))
    rise = worst.best + max(RISE * worst.won, 4 * worst.error)
    bound = rise if _risen(worst) else first
    name = f"{worst.name}, last (best {worst.best:.4g} at step {worst.at})"
    return [
        Finding(
            signature="overfitting",
            layer="run",
            onset=worst.at,
            severity="warning",
            evidence=(Evidence(name, worst.last, bound, SOURCE),),
            layers=("run",),
            stream=facts.stream,
            detail={"gap": worst.gap, "won": worst.won},
        )
    ]


def course(metrics: Series, name: str, first: float) -> Generalisation | None:
    """The course of one metric; None with fewer than five readings.

    `first` is the first training loss, from which most is won before the first
    evaluation.
    """
    column = metrics.of(name).astype(np.float64)
    known = np.isfinite(column)
    values, steps = column[known], metrics.steps[known]
    if values.size < FEWEST:
        return None
    lowest = int(np.argmin(values))
    # A single low reading counts only if it rises steadily from there.
    steady = values.size - lowest >= FEWEST and slope(values[lowest:])[1] > STEADY
    smooth = values if steady else _smooth(values)
    place = int(np.argmin(smooth))
    best = float(smooth[place])
    return Generalisation(
        name=name,
        best=best,
        last=level(values[-3:]),
        won=max(0.0, max(float(values[0]), first) - best),
        at=int(steps[place]),
        after=values.size - 1 - place,
        error=noise(values[place:] if values.size - place > 3 else values),
    )


def _wide(one: Generalisation, left: float, guess: float) -> bool:
    """Whether the data are learnt by heart, and the held-out loss stays far above."""
    by_heart = left < LEARNT * guess
    worse = one.last > (1 + WORSE) * one.best and one.after >= READINGS
    return by_heart and worse and one.last - left > WIDE * guess


def _stake(series: Mapping[str, Series], facts: Facts) -> float:
    """What there is to win at least: half of a guess, of a network that knows much."""
    known = chance(facts)
    first = _first(series["loss"])
    return max(first, 0.5 * known) if np.isfinite(known) else first


def _guess(first: float, facts: Facts) -> float:
    """Loss that a network has before it has seen anything."""
    known = chance(facts)
    return max(first, known) if np.isfinite(known) else first


def _first(loss: Series) -> float:
    return level(loss.values[:3], -np.inf)


def _smooth(values: Array) -> Array:
    """Median of three neighbours; the ends stay."""
    inner = np.median(np.stack([values[:-2], values[1:-1], values[2:]]), axis=0)
    return np.concatenate([values[:1], inner, values[-1:]])


def _risen(one: Generalisation) -> bool:
    return one.gap > max(RISE * one.won, 4 * one.error)


def _still_falls(loss: Series, since: int) -> bool:
    """Whether the training loss fell on after the held-out one was at its best."""
    values = loss.values[:, 0].astype(np.float64)
    near = (loss.steps >= since - 10) & (loss.steps <= since + 10)
    return level(values[-20:]) < FELL * level(values[near], np.inf)


SIGNATURE = Signature(
    name="overfitting",
    about="The held-out loss rises while the training loss goes on falling.",
    needs=("metric", "loss"),
    detect=detect,
)
