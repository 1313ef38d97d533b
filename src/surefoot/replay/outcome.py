"""What one branch of a replay did: numbers come in, an Outcome goes out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from surefoot.record.values import strict, value_of


@dataclass(frozen=True, slots=True)
class Write:
    """Weights that changed although no update was made: at which step, and where."""

    step: int
    layers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One branch, from the first step of the window to the last that it came to.

    `losses` has one mean over the micro-batches a step, `grad_norms` the length of
    the gradient that the update was made from. `aside` is the mean loss afterwards on
    the batches that were set aside, in training mode and without an update;
    `held_out` what the caller's own measure gave.
    """

    branch: str
    losses: tuple[float, ...]
    grad_norms: tuple[float, ...] = ()
    aside: float = math.nan
    held_out: float = math.nan
    refused: str = ""
    """Why its change cannot be carried out here; then it has no losses."""
    ended: str = ""
    """Why it ended before the last step."""
    updates: int | None = None
    """How many updates a script made that makes no more; None if it could go on."""
    writes: tuple[Write, ...] = ()
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def finite(self) -> bool:
        """Whether every loss, and what was measured at the end, is a number."""
        return all(map(math.isfinite, self.losses)) and not math.isinf(self.aside)


def to_json(outcome: Outcome) -> Any:
    """An outcome as strict JSON."""
    return strict(outcome)


def from_json(told: Any) -> Outcome:
    """An outcome from its JSON.

    Raises:
        ValueError: it is no outcome.

    >>> from_json(to_json(Outcome("unchanged", (0.5, 0.25)))).losses
    (0.5, 0.25)
    """
    return value_of(Outcome, told)
