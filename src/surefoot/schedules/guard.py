"""Gradient norms come in, step by step; the stage that a curriculum may be at goes out.

The guard goes on while training is steady and back when it is not; what is harder is
up to its user: longer sequences, rarer words, more noise.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, median, pstdev
from typing import Any

from surefoot.schedules.errors import ScheduleError
from surefoot.types import Event

WINDOW = 31
SPIKE = 8.0
"""A value eight times the median of the last 31: what tells poisoned batches from
healthy steps for Surefoot's remedies too."""

KEPT = 1_000


class CurriculumGuard:
    """Advance only while signals are steady; step back on alarm.

    Steady: over the last `window` steps the coefficient of variation (standard
    deviation over mean) of each signal is at most `limit`. Alarm: a signal is not
    finite, or above `spike` times the median of its window. After each move the window
    begins anew, so that one spike moves one stage.

    Args:
        levels: what each stage stands for, easiest first: shares, lengths.
        window: steps that are looked at, and the least between two moves.
        limit: the largest coefficient of variation that is steady. Gradient norms of a
            small classifier at batch 64 have 0.06 to 0.13 while it learns.
        spike: alarm factor.
        tell: who hears of each move, such as `run.event`.

    >>> guard = CurriculumGuard([16, 32, 64], window=3)
    >>> [guard.update(grad_norm=norm) for norm in (1.0, 1.1, 0.9, 1.0, 1.1, 50.0, 1.0)]
    [16, 16, 32, 32, 32, 16, 16]
    >>> guard.log[-1].body["why"]
    'grad_norm is 50, 47.6 times the median of 2 steps'

    Raises:
        ScheduleError: no levels, a window below 2, or bounds that are not positive.
    """

    def __init__(
        self,
        levels: Sequence[float],
        *,
        window: int = WINDOW,
        limit: float = 0.3,
        spike: float = SPIKE,
        tell: Callable[[Event], None] | None = None,
    ) -> None:
        if not levels or window < 2 or not limit > 0 or not spike > 1:
            raise ScheduleError(
                f"{len(levels)} levels, window={window!r}, limit={limit!r} and "
                f"spike={spike!r} came; expected a level at least, a window of 2 or "
                "more, a limit above 0 and a spike above 1"
            )
        self.levels = tuple(levels)
        self.window = window
        self.limit = limit
        self.spike = spike
        self.tell = tell
        self.stage = 0
        self.step = 0
        self.log: deque[Event] = deque(maxlen=KEPT)
        self._seen: dict[str, list[float]] = {}

    @property
    def level(self) -> float:
        """What the present stage stands for."""
        return self.levels[self.stage]

    def update(self, **signals: float) -> float:
        """Take the signals of a step, such as grad_norm and sharpness; say the level.

        Raises:
            ScheduleError: no signal, or other ones than since the last move.
        """
        if not signals or (self._seen and set(signals) != set(self._seen)):
            raise ScheduleError(
                f"the signals {sorted(signals)} came; expected "
                f"{sorted(self._seen) or 'one at least'}, the same at each step"
            )
        self.step += 1
        alarm = self._alarm(signals)
        if alarm:
            self._move(-1, alarm)
            return self.level
        for name, value in signals.items():
            self._seen.setdefault(name, []).append(float(value))
            del self._seen[name][: -self.window]
        spread = {name: _spread(values) for name, values in self._seen.items()}
        full = len(next(iter(self._seen.values()))) == self.window
        if full and max(spread.values()) <= self.limit:
            told = ", ".join(f"{name} {value:.3g}" for name, value in spread.items())
            self._move(1, f"steady over {self.window} steps: spread {told}")
        return self.level

    def state_dict(self) -> dict[str, Any]:
        """Stage, step and window, as JSON values."""
        seen = {name: list(values) for name, values in self._seen.items()}
        return {"stage": self.stage, "step": self.step, "seen": seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there.

        Raises:
            ScheduleError: its stage is none of these levels.
        """
        if not 0 <= int(state["stage"]) < len(self.levels):
            raise ScheduleError(
                f"stage {state['stage']!r} came; expected one of {len(self.levels)}"
            )
        self.stage, self.step = int(state["stage"]), int(state["step"])
        self._seen = {name: list(values) for name, values in state["seen"].items()}

    def _alarm(self, signals: Mapping[str, float]) -> str:
        """What is wrong with the signals of this step; "" if nothing."""
        for name, value in signals.items():
            if not math.isfinite(value):
                return f"{name} is {value}"
            before = self._seen.get(name, [])
            usual = median(before) if before else math.inf
            if value > self.spike * usual:
                times = f"{value / usual:.3g}" if usual > 0 else "many"
                return (
                    f"{name} is {value:g}, {times} times the median of {len(before)} "
                    "steps"
                )
        return ""

    def _move(self, by: int, why: str) -> None:
        before = self.level
        self.stage = min(len(self.levels) - 1, max(0, self.stage + by))
        self._seen = {}
        if self.level != before:
            body = {"before": before, "after": self.level, "why": why}
            event = Event(self.step, "curriculum", body)
            self.log.append(event)
            if self.tell is not None:
                self.tell(event)


def _spread(values: Sequence[float]) -> float:
    """The coefficient of variation; infinite around a mean of 0."""
    mean = fmean(values)
    spread = pstdev(values)
    return 0.0 if spread == 0 else spread / abs(mean) if mean else math.inf
