"""Schedules come in, others that are made of them go out."""

from __future__ import annotations

import math
from dataclasses import dataclass

from surefoot.schedules.errors import ScheduleError
from surefoot.schedules.scheduled import Scheduled

__all__ = [
    "Clamp",
    "Maximum",
    "Minimum",
    "Repeated",
    "Shifted",
    "Smoothed",
    "Then",
]


@dataclass(frozen=True, slots=True)
class Then(Scheduled):
    """One schedule up to step `at`, then another one, read from its own step 0.

    >>> from surefoot.schedules import Cosine, Linear
    >>> warm = Then(Linear(0.0, 0.1, steps=10), Cosine(0.1, 0.0, steps=90), at=10)
    >>> warm.values([0, 5, 10, 55, 100])
    [0.0, 0.05, 0.1, 0.05, 0.0]
    """

    first: Scheduled
    second: Scheduled
    at: float

    def __post_init__(self) -> None:
        Scheduled.__post_init__(self)
        if self.at < 0:
            raise ScheduleError(
                f"at={self.at!r} came; expected the step, 0 or more, from which the "
                "second schedule holds"
            )

    def value(self, step: float) -> float:
        """The value of whichever holds."""
        if step < self.at:
            return self.first.value(step)
        return self.second.value(step - self.at)

    def __str__(self) -> str:
        return f"{self.first}; from step {self.at:g} {self.second}"


@dataclass(frozen=True, slots=True)
class Maximum(Scheduled):
    """The larger of two, as of a decay and a floor.

    >>> from surefoot.schedules import Constant, Linear
    >>> Maximum(Linear(1.0, 0.0, steps=10), Constant(0.25)).values([0, 5, 10])
    [1.0, 0.5, 0.25]
    """

    left: Scheduled
    right: Scheduled

    def value(self, step: float) -> float:
        """The larger value."""
        return max(self.left.value(step), self.right.value(step))

    def __str__(self) -> str:
        return f"the larger of ({self.left}) and ({self.right})"


@dataclass(frozen=True, slots=True)
class Minimum(Scheduled):
    """The smaller of two, as of a warm-up and a decay.

    >>> from surefoot.schedules import Linear
    >>> up, down = Linear(0.0, 1.0, steps=4), Linear(1.0, 0.0, steps=8)
    >>> Minimum(up, down).values([0, 2, 4, 8])
    [0.0, 0.5, 0.5, 0.0]
    """

    left: Scheduled
    right: Scheduled

    def value(self, step: float) -> float:
        """The smaller value."""
        return min(self.left.value(step), self.right.value(step))

    def __str__(self) -> str:
        return f"the smaller of ({self.left}) and ({self.right})"


@dataclass(frozen=True, slots=True)
class Clamp(Scheduled):
    """A schedule held between two numbers.

    >>> from surefoot.schedules import Linear
    >>> Clamp(Linear(0.0, 1.0, steps=10), low=0.2, high=0.8).values([0, 5, 10])
    [0.2, 0.5, 0.8]
    """

    inner: Scheduled
    low: float
    high: float

    def __post_init__(self) -> None:
        Scheduled.__post_init__(self)
        if not self.low <= self.high:
            raise ScheduleError(
                f"low={self.low!r} and high={self.high!r} came; expected low <= high"
            )

    def value(self, step: float) -> float:
        """The value, or the end that it is beyond."""
        return min(self.high, max(self.low, self.inner.value(step)))

    def __str__(self) -> str:
        return f"({self.inner}), held between {self.low:g} and {self.high:g}"


@dataclass(frozen=True, slots=True)
class Shifted(Scheduled):
    """A schedule that starts `by` steps later, and cannot be read before.

    Use `Then` to say what holds before. Where `by` is negative it starts in its middle.

    >>> from surefoot.schedules import Linear
    >>> Shifted(Linear(0.0, 1.0, steps=10), by=100)(105)
    0.5
    """

    inner: Scheduled
    by: float

    def value(self, step: float) -> float:
        """The value of so many steps before.

        Raises:
            ScheduleError: it has not started yet.
        """
        if step < self.by:
            raise ScheduleError(
                f"the step {step!r} came; expected {self.by!r} or more, where this "
                "schedule starts; say with Then what holds before"
            )
        return self.inner.value(step - self.by)

    def __str__(self) -> str:
        return f"({self.inner}), begun at step {self.by:g}"


@dataclass(frozen=True, slots=True)
class Repeated(Scheduled):
    """A schedule that begins anew every `period` steps: warm restarts, cycles.

    >>> from surefoot.schedules import Cosine
    >>> Repeated(Cosine(0.1, 0.0, steps=10), period=10).values([0, 5, 10, 15])
    [0.1, 0.05, 0.1, 0.05]
    """

    inner: Scheduled
    period: float

    def __post_init__(self) -> None:
        Scheduled.__post_init__(self)
        if not self.period > 0:
            raise ScheduleError(
                f"period={self.period!r} came; expected a number of steps above 0"
            )

    def value(self, step: float) -> float:
        """The value at the place within the period."""
        return self.inner.value(math.fmod(step, self.period))

    def __str__(self) -> str:
        return f"({self.inner}), anew every {self.period:g} steps"


@dataclass(frozen=True, slots=True)
class Smoothed(Scheduled):
    """The mean of the last `width` steps, this one included; causal.

    Before step 0 the value of step 0 is taken to have held. A value takes `width`
    values of what is smoothed.

    >>> from surefoot.schedules import PiecewiseConstant
    >>> Smoothed(PiecewiseConstant((1.0, 0.0), at=(4,)), width=2).values([3, 4, 5])
    [1.0, 0.5, 0.0]
    """

    inner: Scheduled
    width: int

    def __post_init__(self) -> None:
        Scheduled.__post_init__(self)
        whole = isinstance(self.width, int) and not isinstance(self.width, bool)  # pyright: ignore[reportUnnecessaryIsInstance]
        if not whole or self.width < 1:
            raise ScheduleError(
                f"width={self.width!r} came; expected a number of steps, 1 or more"
            )

    def value(self, step: float) -> float:
        """The mean."""
        back = min(self.width - 1, math.floor(step))
        seen = [self.inner.value(step - one) for one in range(back + 1)]
        if back < self.width - 1:
            seen.extend([self.inner.value(0)] * (self.width - 1 - back))
        return math.fsum(seen) / self.width

    def __str__(self) -> str:
        return f"({self.inner}), averaged over {self.width} steps"
