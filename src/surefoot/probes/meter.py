"""What Surefoot costs: moments of the training thread come in, CPU seconds go out."""

from __future__ import annotations

import time


class Meter:
    """CPU seconds of the training thread: inside Surefoot, and of a bare step.

    Wall time is noise on a shared machine, so costs are attributed by the thread's
    own clock. `with meter:` attributes what happens inside to Surefoot.
    """

    __slots__ = (
        "_entered",
        "_last",
        "_last_own",
        "_start",
        "own_seconds",
        "spent",
        "step_seconds",
    )

    def __init__(self) -> None:
        self.own_seconds = 0.0
        self.step_seconds = 0.0
        self.spent = 0.0
        self._last = self._start = self._entered = time.thread_time()
        self._last_own = 0.0

    def __enter__(self) -> None:
        self._entered = time.thread_time()

    def __exit__(self, *error: object) -> None:
        """Add what was spent; the last amount stays in `spent`."""
        self.spent = time.thread_time() - self._entered
        self.own_seconds += self.spent

    def step(self) -> None:
        """One step ended: note what it cost without Surefoot, smoothed over five."""
        now = time.thread_time()
        bare = now - self._last - (self.own_seconds - self._last_own)
        self._last, self._last_own = now, self.own_seconds
        smooth = self.step_seconds if self.step_seconds > 0 else bare
        self.step_seconds = smooth + 0.2 * (bare - smooth)

    def restart(self) -> None:
        """Count from here on: what came before was warming up."""
        self._start = time.thread_time()
        self.own_seconds = self._last_own = 0.0

    def share(self) -> float:
        """Own CPU time as a share of the rest of the training thread's."""
        rest = time.thread_time() - self._start - self.own_seconds
        return self.own_seconds / rest if rest > 0 else 0.0
