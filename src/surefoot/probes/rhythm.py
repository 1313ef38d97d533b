"""When a probe runs: the step comes in, whether it is due goes out."""

from __future__ import annotations

import math
from dataclasses import dataclass

AGE_SHARE = 0.1
"""Longest interval as a share of the steps so far: what begins late in a short run
is seen a tenth of the run later at most."""
YOUNG_PERCENT = 1.0
"""Share that a probe may take for that while the run is young."""


@dataclass(slots=True)
class Rhythm:
    """Every `every` steps, made sparser so that the cost stays within a share.

    The first `burn_in` times are unconditional: most faults of initialisation show
    there, and a short run is worth a few milliseconds. Afterwards the interval is
    the smallest multiple of `every` that keeps the mean cost within `percent` of
    the training thread's CPU time. `percent=None` keeps the interval fixed.

    A young run is not left in the dark for that: until a tenth of its age is longer,
    it may take a percent.

    >>> rhythm = Rhythm(every=10, percent=None)
    >>> [step for step in range(25) if rhythm.due(step)]
    [0, 10, 20]
    """

    every: int = 10
    percent: float | None = 0.3
    burn_in: int = 20
    next_step: int = 0
    times: int = 0
    cost_seconds: float = 0.0

    def due(self, step: int) -> bool:
        """Whether the probe runs at this step; asking moves the rhythm on."""
        if step < self.next_step:
            return False
        self.times += 1
        self.next_step = step + self.every
        return True

    def spent(self, seconds: float, step_seconds: float) -> None:
        """Tell what the probe just cost and what a bare step costs, CPU seconds.

        The cost is smoothed over about five times, so that one slow reading on a
        busy machine does not blind the probe for long.
        """
        known = self.cost_seconds if self.times > 1 else seconds
        self.cost_seconds = known + 0.2 * (seconds - known)
        if self.percent is None or self.times < self.burn_in or step_seconds <= 0:
            return
        affordable = self.percent / 100 * step_seconds
        interval = self.cost_seconds / affordable
        shortest = min(interval, self.cost_seconds / step_seconds * 100 / YOUNG_PERCENT)
        age = self.next_step - self.every
        interval = min(interval, max(AGE_SHARE * age, shortest))
        periods = max(1, math.ceil(interval / self.every))
        self.next_step += (periods - 1) * self.every


@dataclass(slots=True)
class Doubling:
    """Steps 0, 1, 2, 4, 8, …, and in a long run every `every` steps or more.

    The first steps of a run differ most from each other. In a long run the interval
    is such that the mean cost stays within `percent` of the training thread's CPU
    time. `percent=None` keeps the interval at `every`.

    >>> rhythm = Doubling(every=8)
    >>> [step for step in range(40) if rhythm.due(step)]
    [0, 1, 2, 4, 8, 16, 24, 32]
    """

    every: int = 1_000
    percent: float | None = 0.02
    next_step: int = 0
    interval: int = 0

    def due(self, step: int) -> bool:
        """Whether it runs at this step; asking moves the rhythm on."""
        if step < self.next_step:
            return False
        self.next_step = step + max(1, min(step, max(self.every, self.interval)))
        return True

    def spent(self, seconds: float, step_seconds: float) -> None:
        """Tell what it just cost and what a bare step costs, CPU seconds.

        The lowest of the last costs counts, with a tenth of oblivion each time: a
        reading on a busy machine must not blind it for long.
        """
        if self.percent is None or step_seconds <= 0:
            return
        interval = math.ceil(seconds / (self.percent / 100 * step_seconds))
        known = self.interval or interval
        self.interval = min(interval, math.ceil(1.1 * known))


def within(percent: float | None, *, every: int = 10) -> Rhythm:
    """A rhythm for what is dear: at once, then never beyond its share.

    The first time is unconditional, as the cost is not known before it; after that the
    mean cost stays within `percent` of the training thread's CPU time. `percent=None`
    keeps the interval at `every`.

    >>> rhythm = within(2.0)
    >>> rhythm.due(0)
    True
    >>> rhythm.spent(1.0, 0.1)
    >>> rhythm.next_step
    500
    """
    return Rhythm(every=every, percent=percent, burn_in=1)
