"""Does the replay give what was recorded: losses come in, a Fidelity goes out.

Everything that is said of the branches rests on this first check.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

DEPARTED = 1e-2
"""A loss off by more than one percent is another course: rounding in float32 and the
order of sums on a GPU begin near 1e-7, and grow slowly while training is stable."""

ABRUPT = 1e3
"""Rounding grows as fast as the loss's own instability; a factor of a thousand within
one step is more than a divergence gives, and something that changed gives any."""

ROUNDING = 1e-7
"""Half the distance between neighbouring float32 numbers."""


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How far an unchanged replay can be trusted.

    `noise` is the largest relative distance from the recorded losses before
    `departs`, the place in the window from which it is another course, if any.
    """

    noise: float
    departs: int | None
    steps: int

    @property
    def exact(self) -> bool:
        """Whether every loss was the recorded one, bit for bit."""
        return self.departs is None and self.noise == 0.0


def fidelity(recorded: Sequence[float], replayed: Sequence[float]) -> Fidelity:
    """Compare the losses of an unchanged replay with the recorded ones.

    >>> fidelity([1.0, 0.5, 0.25], [1.0, 0.5, 0.25]).exact
    True
    >>> fidelity([1.0, 0.5, 9.0], [1.0, 0.5, 0.25]).departs
    2
    """
    noise = 0.0
    pairs = list(zip(recorded, replayed, strict=False))
    for place, (then, now) in enumerate(pairs):
        off = distance(then, now)
        if off > max(DEPARTED, ABRUPT * max(noise, ROUNDING)) or (
            off > DEPARTED and noise == 0.0
        ):
            return Fidelity(noise, place, len(pairs))
        noise = max(noise, off)
    return Fidelity(noise, None, len(pairs))


def distance(then: float, now: float) -> float:
    """How far two losses lie apart, as a share of the first; alike where neither is.

    >>> distance(2.0, 1.0)
    0.5
    >>> distance(float("nan"), float("inf"))
    0.0
    """
    if not math.isfinite(then) or not math.isfinite(now):
        return 0.0 if math.isfinite(then) == math.isfinite(now) else math.inf
    return abs(then - now) / max(abs(then), 1e-12)
