"""Numbers come in, a schedule that falls as a power of the step goes out."""

from __future__ import annotations

from dataclasses import dataclass

from surefoot.schedules.errors import ScheduleError
from surefoot.schedules.scheduled import Scheduled


@dataclass(frozen=True, slots=True)
class InversePower(Scheduled):
    """A power of the step: start / (1 + t)^exponent.

    >>> InversePower(0.1, exponent=0.5).values([0, 3, 99])
    [0.1, 0.05, 0.01]
    """

    start: float
    exponent: float

    def __post_init__(self) -> None:
        Scheduled.__post_init__(self)
        if not self.exponent >= 0:
            raise ScheduleError(
                f"exponent={self.exponent!r} came; expected 0 or more, as 0.5 for the "
                "inverse of the square root"
            )

    def value(self, step: float) -> float:
        """The value on the curve."""
        return self.start / (1 + step) ** self.exponent

    def __str__(self) -> str:
        return f"{self.start:g} over (1 + step) to the power {self.exponent:g}"
