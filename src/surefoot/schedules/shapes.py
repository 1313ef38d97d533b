"""Numbers come in, the common shapes of a schedule go out."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import Self

from surefoot.schedules.errors import ScheduleError
from surefoot.schedules.scheduled import Scheduled, checked_step

__all__ = [
    "Cosine",
    "Exponential",
    "Geometric",
    "InverseSigmoid",
    "Linear",
    "PiecewiseConstant",
    "Root",
    "Tabulated",
]

NEWTON = 30
"""Steps of Newton's method on a convex function: six reach the last digit."""


@dataclass(frozen=True, slots=True)
class Ramp(Scheduled):
    """From `start` at step 0 to `end` at step `steps`, and `end` from there on."""

    start: float
    end: float
    steps: float

    def __post_init__(self) -> None:
        Scheduled.__post_init__(self)
        if not self.steps > 0:
            raise ScheduleError(
                f"steps={self.steps!r} came; expected a positive number of steps; for "
                "a value that does not vary use Constant"
            )

    def share(self, step: float) -> float:
        """How much of the way is behind, 0 to 1."""
        return min(1.0, step / self.steps)

    def __str__(self) -> str:
        name = type(self).__name__.lower()
        return f"{name} {self.start:g} to {self.end:g} over {self.steps:g} steps"


@dataclass(frozen=True, slots=True)
class Linear(Ramp):
    """A straight line: start + (end - start)·t/T.

    >>> Linear(0.0, 0.1, steps=100).values([0, 50, 100, 500])
    [0.0, 0.05, 0.1, 0.1]
    """

    def value(self, step: float) -> float:
        """The value on the line."""
        share = self.share(step)
        return self.end if share == 1.0 else _between(self.start, self.end, share)


@dataclass(frozen=True, slots=True)
class Cosine(Ramp):
    """Half a cosine: end + (start - end)(1 + cos πt/T)/2 (Loshchilov & Hutter 2017).

    >>> Cosine(0.1, 0.0, steps=100).values([0, 50, 100])
    [0.1, 0.05, 0.0]
    """

    def value(self, step: float) -> float:
        """The value on the curve."""
        share = self.share(step)
        if share == 1.0:
            return self.end
        return _between(self.end, self.start, (1 + math.cos(math.pi * share)) / 2)


@dataclass(frozen=True, slots=True)
class Geometric(Ramp):
    """Equal ratios: start·(end/start)^(t/T); both of one sign, neither zero.

    >>> round(Geometric(1.0, 0.01, steps=100)(50), 12)
    0.1
    """

    def __post_init__(self) -> None:
        Ramp.__post_init__(self)
        if self.start == 0 or self.end == 0 or (self.start > 0) != (self.end > 0):
            raise ScheduleError(
                f"from {self.start!r} to {self.end!r} came; expected two numbers of "
                "one sign, as no ratio leads through zero; use Linear or Cosine"
            )

    def value(self, step: float) -> float:
        """The value on the curve."""
        share = self.share(step)
        if share == 1.0:
            return self.end
        # Logarithms, as the ratio of a tiny and a huge number has no float.
        way = math.log(abs(self.end)) - math.log(abs(self.start))
        return self.start * math.exp(share * way)


@dataclass(frozen=True, slots=True)
class Root(Ramp):
    """Fast first: (startᵖ + (endᵖ - startᵖ)·t/T)^(1/p), neither end negative.

    With p = 2 from c₀ to 1 it is the pace of a curriculum that shows each new example
    equally often (Platanios et al. 2019, arXiv 1903.09848).

    >>> round(Root(0.01, 1.0, steps=100)(25), 6)
    0.500075
    """

    power: float = 2.0

    def __post_init__(self) -> None:
        Ramp.__post_init__(self)
        if min(self.start, self.end) < 0 or not self.power > 0:
            raise ScheduleError(
                f"from {self.start!r} to {self.end!r} with power={self.power!r} came; "
                "expected ends that are not negative, and a power above 0"
            )

    def value(self, step: float) -> float:
        """The value on the curve."""
        share = self.share(step)
        if share in (0.0, 1.0):
            return self.end if share else self.start
        top = max(self.start, self.end)  # powers of what is 1 at most do not overflow
        if top == 0:
            return 0.0
        start, end = (self.start / top) ** self.power, (self.end / top) ** self.power
        return top * _between(start, end, share) ** (1 / self.power)


@dataclass(frozen=True, slots=True)
class Exponential(Scheduled):
    """Nears `end` without reaching it: end + (start - end)·e^(-t/scale).

    From 1 to 0 it is kᵗ with scale -1/ln k, the exponential decay of Bengio et al.
    2015; from 0 to 1 the exponential warm-up of Ma & Yarats 2021.

    >>> round(Exponential(1.0, 0.0, scale=10)(10), 6)
    0.367879
    """

    start: float
    end: float
    scale: float

    def __post_init__(self) -> None:
        Scheduled.__post_init__(self)
        if not self.scale > 0:
            raise ScheduleError(
                f"scale={self.scale!r} came; expected the number of steps, above 0, in "
                "which all but 1/e of the way is made"
            )

    def value(self, step: float) -> float:
        """The value on the curve."""
        return _between(self.end, self.start, math.exp(-step / self.scale))

    def __str__(self) -> str:
        return (
            f"exponential {self.start:g} toward {self.end:g}, scale {self.scale:g} "
            "steps"
        )


@dataclass(frozen=True, slots=True)
class InverseSigmoid(Scheduled):
    """k / (k + e^(t/k)): the share of true inputs in scheduled sampling.

    It falls from k/(k+1) to 0, is a half at step k·ln k, and falls there by 1/(4k) a
    step (Bengio et al. 2015, arXiv 1506.03099). Detection code calls another thing by
    this name: the logit, `torch.logit`.

    >>> share = InverseSigmoid(10.0)
    >>> round(share(0), 5), round(share(23.026), 5)
    (0.90909, 0.5)
    """

    k: float

    def __post_init__(self) -> None:
        Scheduled.__post_init__(self)
        if not self.k >= 1:
            raise ScheduleError(f"k={self.k!r} came; expected 1 or more")

    @classmethod
    def half_at(cls, step: float) -> Self:
        """The one that is a half at this step: k·ln k = step.

        >>> round(InverseSigmoid.half_at(5_000).k, 2)
        754.58

        Raises:
            ScheduleError: the step is negative or no number.
        """
        target = checked_step(step)
        k = 1.0 + target / (1 + math.log1p(target))
        for _ in range(NEWTON):
            k -= (k * math.log(k) - target) / (1 + math.log(k))
        return cls(max(1.0, k))

    def value(self, step: float) -> float:
        """The value on the curve."""
        return _logistic(math.log(self.k) - step / self.k)

    def __str__(self) -> str:
        half = self.k * math.log(self.k)
        return f"inverse sigmoid, a half at step {half:g}"


@dataclass(frozen=True, slots=True)
class PiecewiseConstant(Scheduled):
    """Level i from step at[i-1] on: stages of a curriculum, drops of a rate.

    >>> PiecewiseConstant((0.1, 0.01), at=(30,)).values([0, 29, 30])
    [0.1, 0.1, 0.01]
    """

    levels: tuple[float, ...]
    at: tuple[float, ...]

    def __post_init__(self) -> None:
        Scheduled.__post_init__(self)
        rising = list(self.at) == sorted(set(self.at)) and min(self.at, default=1) > 0
        if len(self.levels) != len(self.at) + 1 or not rising:
            raise ScheduleError(
                f"{len(self.levels)} levels at {self.at} came; expected one level more "
                "than steps, and steps above 0 that rise"
            )

    def value(self, step: float) -> float:
        """The level that holds."""
        return self.levels[bisect_right(self.at, step)]

    def __str__(self) -> str:
        later = (
            f", {level:g} from step {step:g}"
            for level, step in zip(self.levels[1:], self.at, strict=True)
        )
        return f"{self.levels[0]:g}{''.join(later)}"


@dataclass(frozen=True, slots=True)
class Tabulated(Scheduled):
    """Values one by one, and the last of them from then on.

    >>> Tabulated((0.1, 0.3, 0.2)).values(5)
    [0.1, 0.3, 0.2, 0.2, 0.2]
    """

    table: tuple[float, ...]

    def __post_init__(self) -> None:
        Scheduled.__post_init__(self)
        if not self.table:
            raise ScheduleError("an empty table came; expected a value at least")

    def value(self, step: float) -> float:
        """The value of the step, or of the one before a step between two."""
        return self.table[min(int(step), len(self.table) - 1)]

    def __str__(self) -> str:
        low, high = min(self.table), max(self.table)
        return f"a table of {len(self.table)} values from {low:g} to {high:g}"


def _between(start: float, end: float, share: float) -> float:
    """A share of the way from one number to another."""
    return start + (end - start) * share


def _logistic(x: float) -> float:
    """1 / (1 + e^-x) without overflow."""
    if x >= 0:
        return 1 / (1 + math.exp(-x))
    small = math.exp(x)
    return small / (1 + small)
