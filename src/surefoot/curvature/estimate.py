"""What every estimate of curvature is: a value, its error, and what it cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from surefoot.signatures.statistics import CONFIDENCE, t_limit

Kind = Literal["standard error", "bound"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and its error.

    `error` is what `kind` says: one standard error of a value that was drawn at
    random, or a bound on the distance to the true value. `products` counts the
    products with the operator. `freedom` is the number of degrees of freedom that
    the standard error was estimated with (0: known, not estimated). `converged` is
    False where the tolerance that was asked for is not met; `note` says why.
    """

    value: float
    error: float
    products: int
    method: str
    kind: Kind = "bound"
    freedom: int = 0
    converged: bool = True
    note: str = ""

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Where the true value lies with this probability.

        Student's t for standard errors, as those of few probes are uncertain
        themselves. A bound is its own interval, whatever the probability.

        >>> Estimate(10.0, 1.0, 5, "hutchinson", "standard error", 4).interval()
        (7.22..., 12.77...)
        >>> Estimate(10.0, 1.0, 5, "lanczos").interval()
        (9.0, 11.0)
        """
        reach = self.error * self._limit(confidence)
        return self.value - reach, self.value + reach

    def _limit(self, confidence: float) -> float:
        if self.kind == "bound" or not math.isfinite(self.error):
            return 1.0
        return t_limit(self.freedom or _MANY, confidence)

    def __str__(self) -> str:
        sign = "±" if self.kind == "standard error" else "within"
        text = f"{self.value:.6g} {sign} {self.error:.2g} ({self.products} products)"
        return text if not self.note else f"{text}: {self.note}"


_MANY = 100_000
"""Degrees of freedom from which on Student's t is the normal distribution."""
