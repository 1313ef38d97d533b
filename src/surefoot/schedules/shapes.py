"""Numbers come in, the common shapes of a schedule and their combinations go out."""

from __future__ import annotations

import math
from dataclasses import dataclass

from surefoot.schedules.errors import ScheduleError
from surefoot.schedules.scheduled import Constant, Scheduled

__all__ = ["Constant", "Cosine", "Geometric", "Linear", "Product", "Then"]


@dataclass(frozen=True, slots=True)
class Ramp(Scheduled):
    """From `start` at step 0 to `end` at step `steps`, and `end` from there on."""

    start: float
    end: float
    steps: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.steps) and self.steps > 0):
            raise ScheduleError(
                f"steps={self.steps!r} came; expected a positive number of steps; for "
                "a value that does not vary use Constant"
            )

    def share(self, step: float) -> float:
        """How much of the way is behind, 0 to 1."""
        return min(1.0, step / self.steps)


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
        if not self.start * self.end > 0:
            raise ScheduleError(
                f"from {self.start!r} to {self.end!r} came; expected two numbers of "
                "one sign, as no ratio leads through zero; use Linear or Cosine"
            )

    def value(self, step: float) -> float:
        """The value on the curve."""
        share = self.share(step)
        if share == 1.0:
            return self.end
        return self.start * (self.end / self.start) ** share


@dataclass(frozen=True, slots=True)
class Then(Scheduled):
    """One schedule up to step `at`, then another one, read from its own step 0.

    >>> warm = Then(Linear(0.0, 0.1, steps=10), Cosine(0.1, 0.0, steps=90), at=10)
    >>> warm.values([0, 5, 10, 55, 100])
    [0.0, 0.05, 0.1, 0.05, 0.0]
    """

    first: Scheduled
    second: Scheduled
    at: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.at) and self.at >= 0):
            raise ScheduleError(
                f"at={self.at!r} came; expected the step, 0 or more, from which the "
                "second schedule holds"
            )

    def value(self, step: float) -> float:
        """The value of whichever holds."""
        if step < self.at:
            return self.first.value(step)
        return self.second.value(step - self.at)


@dataclass(frozen=True, slots=True)
class Product(Scheduled):
    """The product of two schedules, as of a shape and a factor for large batches.

    >>> Product(Constant(8.0), Linear(0.0, 0.1, steps=10))(5)
    0.4
    """

    left: Scheduled
    right: Scheduled

    def value(self, step: float) -> float:
        """Both values, multiplied."""
        return self.left.value(step) * self.right.value(step)


def _between(start: float, end: float, share: float) -> float:
    """A share of the way from one number to another."""
    return start + (end - start) * share
