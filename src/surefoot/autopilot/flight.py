"""What the controller goes by: its rules, what it remembers, and what it decides.

Nothing but numbers and words, so that a state can be written down and read again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from surefoot.autopilot.divergence import Divergence, Trend
from surefoot.autopilot.frozen import FrozenMoments, Moments
from surefoot.autopilot.raising import Climb, Raising
from surefoot.autopilot.spikes import Spikes
from surefoot.autopilot.warming import Warming

Action = Literal["go", "skip", "restore", "undo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Which rules are in force, with their settings; None switches one off."""

    spikes: Spikes = field(default_factory=Spikes)
    divergence: Divergence = field(default_factory=Divergence)
    frozen: FrozenMoments | None = field(default_factory=FrozenMoments)
    raising: Raising | None = field(default_factory=Raising)
    warming: Warming | None = field(default_factory=Warming)
    interventions: int = 20
    stubborn: int = 12
    piled: int = 3
    window: int = 50
    steps: int | None = None
    keeps: bool = True

    def fade(self, step: int) -> float:
        """How far a run of known length is: the share of its rate under a cosine.

        Some rules end with the early part of a run. Of a schedule that falls they see
        where that is; a rate that stays does not show it.

        >>> [round(Rules(steps=100).fade(step), 2) for step in (0, 50, 100, 200)]
        [1.0, 0.5, 0.0, 0.0]
        >>> Rules().fade(10**6)
        1.0
        """
        if self.steps is None:
            return 1.0
        return (1 + math.cos(math.pi * min(1.0, step / self.steps))) / 2

    def __post_init__(self) -> None:
        if self.keeps and self.divergence.held < 1:
            raise ValueError("held=0 came; expected at least one state, or keeps=False")


@dataclass(frozen=True, slots=True)
class Kept:
    """A state that is kept: before which update, and how the loss stood then."""

    step: int
    trend: Trend | None
    norms: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Trial:
    """A remedy on trial: how all was before it, and when it is judged."""

    before: Kept
    rate: float
    cap: float | None
    due: int


@dataclass(frozen=True, slots=True)
class State:
    """All that the controller remembers; nothing but numbers.

    Attributes:
        trend: how the loss went.
        norms: of the last accepted gradients.
        row: updates skipped in a row.
        above: how long the smoothed loss has been too high, see `Divergence.row`.
        good: the bound as it was at the state that was put back last.
        high: losses in a row above that, from then on.
        piled: updates in a row whose gradient had the one before still in it.
        kept: states to go back to, oldest first; the first is held for good.
        rate: factor of the learning rate that alarms left.
        acted: the step of the last restore; None before the first.
        moved: updates made since then.
        moments: what the frozen alarm goes by.
        climb: how far the rate was raised.
        warmth: how far a warm-up is.
        trial: the remedy on trial.
        spent: interventions so far.
        quiet: why it stopped acting; empty while it acts.
    """

    trend: Trend | None = None
    norms: tuple[float, ...] = ()
    row: int = 0
    above: int = 0
    good: float | None = None
    high: int = 0
    piled: int = 0
    kept: tuple[Kept, ...] = ()
    rate: float = 1.0
    acted: int | None = None
    moved: int = 0
    moments: Moments = field(default_factory=Moments)
    climb: Climb = field(default_factory=Climb)
    warmth: float = 1.0
    trial: Trial | None = None
    spent: int = 0
    quiet: str = ""

    @property
    def factor(self) -> float:
        """What the schedule's learning rate is multiplied by."""
        return self.rate * self.climb.factor * self.warmth

    @property
    def held(self) -> tuple[int, ...]:
        """The steps of all states that may be asked for."""
        steps = [one.step for one in self.kept]
        return (*steps, self.trial.before.step) if self.trial else tuple(steps)


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done with one update.

    Attributes:
        action: make it, skip it, or skip it and put back the state `restore`.
        restore: the step of the state that is put back.
        keep: whether the state before this update is kept under its step.
        why: in words; empty where nothing is done.
        facts: the numbers it went by.
    """

    action: Action = "go"
    restore: int | None = None
    keep: bool = False
    why: str = ""
    facts: dict[str, float] = field(default_factory=dict[str, float])


GO = Decision()
Outcome = tuple[State, Decision]
