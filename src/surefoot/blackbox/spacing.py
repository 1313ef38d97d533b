"""What states and steps cost comes in, when the next state is due goes out."""

from __future__ import annotations

import math
import time
from typing import Any

from surefoot.blackbox.state import State
from surefoot.probes.meter import Meter

EVERY = 10
"""Least updates between two states: an incident is replayed from one before its onset,
and ten updates more are replayed in no time."""

PART = 0.8
"""Part of the promised share that is used: costs are known as means only."""

LEAST_PART = 0.2
"""Of it for states, where logging the batches already takes the rest."""


class Spacing:
    """States as often as the share allows, and no oftener than every tenth update.

    `meter` counts all that the black box does on the training thread, `percent` is the
    share that it may take; None takes a state at every tenth update. On a CUDA device
    the time of its copies there counts, against the time of a whole update.
    """

    def __init__(self, meter: Meter, percent: float | None) -> None:
        self._share = None if percent is None else percent / 100
        self.step_seconds = 0.0
        self._meter = meter
        self._last: int | None = None
        self._cost = 0.0  # of a byte
        self._nbytes = 0
        self._states_seconds = 0.0
        self._steps = 0
        self._at = time.perf_counter()
        self._device = False
        self._copying: State | None = None

    def due(self, step: int) -> bool:
        """Whether a state is due before update `step`; the first one is at once."""
        return self._last is None or step - self._last >= self.interval()

    def restart(self) -> None:
        """The next state is due at once."""
        self._last = None

    def interval(self) -> int:
        """Updates from one state to the next."""
        if self._share is None or self.step_seconds <= 0 or self._cost <= 0:
            return EVERY
        logged = max(0.0, self._meter.own_seconds - self._states_seconds)
        logging = logged / max(1, self._steps)
        free = PART * self._share - logging / self.step_seconds
        share = max(LEAST_PART * self._share, free)
        cost = self._cost * self._nbytes
        return max(EVERY, math.ceil(cost / (share * self.step_seconds)))

    def weighed(self, nbytes: int) -> None:
        """What a state would take now: more than the first, as optimizers grow."""
        self._nbytes = nbytes

    def step(self) -> None:
        """An update was made."""
        now = time.perf_counter()
        wall, self._at = now - self._at, now
        self._steps += 1
        seconds = self._meter.step_seconds
        if self._device:
            seconds = max(wall, seconds)
        known = self.step_seconds or seconds
        self.step_seconds = known + 0.2 * (seconds - known)
        self._device_cost()

    def spent(self, step: int, seconds: float, state: State) -> None:
        """A state was taken before update `step`, in CPU seconds of this thread."""
        self._last = step
        self._states_seconds += seconds
        # Dearer soon and cheaper slowly: copies into fresh memory take the longest.
        cost = seconds / max(1, state.nbytes)
        known = self._cost or cost
        self._cost = known + (0.6 if cost > known else 0.3) * (cost - known)
        if state.copied is not None:
            self._device, self._copying = True, state

    def _device_cost(self) -> None:
        """What the copies took on the device, once they are done; nothing is waited."""
        copied: Any = None if self._copying is None else self._copying.copied
        if copied is not None and copied[1].query():
            seconds = copied[0].elapsed_time(copied[1]) / 1000
            self._cost = max(self._cost, seconds / max(1, self._nbytes))
            self._copying = None
