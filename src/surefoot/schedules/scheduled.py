"""A step comes in, the value of a quantity at that step goes out.

Anything that varies over training is one of these: a frozen value without hidden
state, so that a resumed run goes on exactly where it stopped.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any

from surefoot.schedules.errors import ScheduleError


@dataclass(frozen=True, slots=True)
class Scheduled(ABC):
    """A pure function of the step, written down as a frozen dataclass.

    Call it with a step of 0 or more: `schedule(step)`. Two with the same fields are
    equal, `str(schedule)` says in words what it does, `+` and `*` combine it with
    numbers and with others, and `surefoot.schedules.to_dict` writes any of them as
    plain JSON values. Subclasses hold numbers, tuples of numbers and other schedules,
    and define `value(step)`; list one in `surefoot.schedules.stored.KINDS` to have it
    stored.

    Raises:
        ScheduleError: a field that is annotated as a number is none, or not finite; one
            that is annotated as a schedule is none.
    """

    def __post_init__(self) -> None:
        for one in fields(self):
            _check_field(self, one.name, str(one.type))

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

    def __add__(self, other: float | Scheduled) -> Sum:
        return Sum(self, scheduled(other))

    def __radd__(self, other: float) -> Sum:
        return Sum(scheduled(other), self)

    def __mul__(self, other: float | Scheduled) -> Product:
        return Product(self, scheduled(other))

    def __rmul__(self, other: float) -> Product:
        return Product(scheduled(other), self)


def checked_step(step: float) -> float:
    """A step as it came, if a schedule can be read there.

    Raises:
        ScheduleError: it is negative, not finite, or no number.
    """
    if not _is_finite(step) or step < 0:
        raise ScheduleError(
            f"the step {step!r} came; expected a number of 0 or more, as a schedule "
            "starts at step 0; subtract the first step if yours starts later"
        )
    return step


def scheduled(value: float | Scheduled) -> Scheduled:
    """A number as a schedule that stays at it; a schedule as it is.

    Raises:
        ScheduleError: it is neither.
    """
    return value if isinstance(value, Scheduled) else Constant(value)


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

    def __str__(self) -> str:
        return f"{self.level:g}"


@dataclass(frozen=True, slots=True)
class Sum(Scheduled):
    """The sum of two schedules; `+` makes it.

    >>> from surefoot.schedules import Linear
    >>> (0.1 + Linear(0.0, 1.0, steps=10))(5)
    0.6
    """

    left: Scheduled
    right: Scheduled

    def value(self, step: float) -> float:
        """Both values, added."""
        return self.left.value(step) + self.right.value(step)

    def __str__(self) -> str:
        return f"({self.left}) + ({self.right})"


@dataclass(frozen=True, slots=True)
class Product(Scheduled):
    """The product of two schedules, as of a shape and a peak; `*` makes it.

    >>> from surefoot.schedules import Linear
    >>> (8.0 * Linear(0.0, 0.1, steps=10))(5)
    0.4
    """

    left: Scheduled
    right: Scheduled

    def value(self, step: float) -> float:
        """Both values, multiplied."""
        return self.left.value(step) * self.right.value(step)

    def __str__(self) -> str:
        return f"({self.left}) x ({self.right})"


# --- what a field may hold -------------------------------------------------------


def _is_finite(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def _check_field(schedule: Scheduled, name: str, annotation: str) -> None:
    """Refuse what does not fit the annotation; a list for a tuple becomes one."""
    value = getattr(schedule, name)
    if annotation.startswith("tuple[") and isinstance(value, list | tuple):
        value = tuple(value)
        object.__setattr__(schedule, name, value)
        held, annotation = value, annotation[len("tuple[") :].partition(",")[0]
    else:
        held = (value,)
    if annotation == "float" and not all(map(_is_finite, held)):
        wanted = "a finite number, or only such"
    elif annotation == "Scheduled" and not all(isinstance(x, Scheduled) for x in held):
        wanted = "a schedule; write Constant(0.1) for a number"
    elif annotation.startswith("tuple["):
        wanted = "a tuple"
    else:
        return
    kind = type(schedule).__name__
    raise ScheduleError(f"{name}={value!r} came for {kind}; expected {wanted}")
