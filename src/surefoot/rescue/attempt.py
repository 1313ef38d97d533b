"""One training and what came of it: a Plan comes in, an Attempt goes out.

Whatever can train from scratch under a plan is a `Trainer`: a script in a process of
its own, a Python function, a task of the zoo.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from surefoot.types import Change, Diagnosis


@dataclass(frozen=True, slots=True)
class Plan:
    """What one training is to be like; as it stands here: as the user wrote it.

    The changes are carried out once `at` updates have been made, so that all before
    is as it was. It ends after `until` updates; None: as long as it is.

    >>> Plan().untouched
    True
    """

    changes: tuple[Change, ...] = ()
    at: int = 0
    until: int | None = None
    autopilot: str = ""

    @property
    def untouched(self) -> bool:
        """Whether it is the user's own training, to its end."""
        return not self.changes and not self.autopilot and self.until is None

    @property
    def whole(self) -> Plan:
        """The same to the end of the training."""
        return replace(self, until=None)


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of a plan.

    `losses` are the training's, one an update; `metric` is the held-out number (None:
    it gave none); `failed` is why it ended early, `refused` why a change did not fit.
    """

    plan: Plan
    steps: int
    losses: tuple[float, ...] = ()
    metric: float | None = None
    diagnoses: tuple[Diagnosis, ...] = ()
    record: Path | None = None
    failed: str = ""
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Measure:
    """What a training is judged by: the name of the held-out number, and its sign."""

    name: str
    higher_is_better: bool = True


class Trainer(Protocol):
    """Trains from scratch, every time from the same seed and on the same data."""

    @property
    def measure(self) -> Measure:
        """What it is judged by."""
        ...

    def attempt(self, plan: Plan) -> Attempt:
        """Train under a plan, in whole or until the plan ends."""
        ...
