"""A step comes in, the value of a quantity at that step goes out.

Anything that varies over training is one of these: a frozen value without hidden
state, so that a resumed run goes on exactly where it stopped.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Real

from surefoot.schedules.errors import ScheduleError


@dataclass(frozen=True, slots=True)
class Scheduled(ABC):
    """A pure function of the step, written down as a frozen dataclass.

    Call it with a step of 0 or more: `schedule(step)`. Two with the same fields are
    equal, and `surefoot.schedules.to_dict` writes any of them as plain JSON values.
    Subclasses hold numbers, tuples of numbers and other schedules, and define
    `value(step)`; list one in `surefoot.schedules.stored.KINDS` to have it stored.
    """

    @abstractmethod
    def value(self, step: float) -> float:
        """The value at a step that has been checked: finite, and 0 or more."""

    def __call__(self, step: float) -> float:
        """The value at a step.

        Raises:
            ScheduleError: the step lies before the start, or is no number.
        """
        return self.value(checked_step(step))

    def values(self, steps: int | Iterable[float]) -> list[float]:
        """The values at steps, or at the first `steps` of them, for logs and plots."""
        asked = range(steps) if isinstance(steps, int) else steps
        return [self(step) for step in asked]


def checked_step(step: float) -> float:
    """A step as it came, if a schedule can be read there.

    Raises:
        ScheduleError: it is negative, not finite, or no number.
    """
    if (
        isinstance(step, bool)
        or not isinstance(step, Real)
        or not math.isfinite(step)
        or step < 0
    ):
        raise ScheduleError(
            f"the step {step!r} came; expected a number of 0 or more, as a schedule "
            "starts at step 0; subtract the first step if yours starts later"
        )
    return step


def scheduled(value: float | Scheduled) -> Scheduled:
    """A number as a schedule that stays at it; a schedule as it is."""
    return value if isinstance(value, Scheduled) else Constant(float(value))


def value_at(value: float | Scheduled, step: float) -> float:
    """What a quantity is at a step, whether it is a plain number or varies.

    >>> value_at(0.1, 1_000)
    0.1
    """
    return value(step) if isinstance(value, Scheduled) else float(value)


@dataclass(frozen=True, slots=True)
class Constant(Scheduled):
    """The same value at every step.

    >>> Constant(0.1)(1_000)
    0.1
    """

    level: float

    def value(self, step: float) -> float:
        """The value."""
        return self.level
