"""Gradient norms come in, a threshold that is moved in steps goes out, and why.

A threshold that follows every norm hides what happens. This one stands still, and is
raised or lowered only when the norms have changed for good; each change is an event
with what was before, what is after, and the evidence.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

from surefoot.gradients.clipping import (
    ClipError,
    NonFinite,
    NormClip,
    positive,
    whole,
)
from surefoot.gradients.numbers import Norms
from surefoot.remedies.clipping import TIMES_MEDIAN
from surefoot.schedules.scheduled import Scheduled
from surefoot.types import Event

LOG = logging.getLogger("surefoot.clip")
KEPT = 1_000
"""Changes that are kept in memory."""
LOOKS = 4
"""Looks at the norms in a window, each of which waits for the device once."""
FEWEST = 8
"""Norms in a window: two halves of four have a median that one spike does not move."""


class PolicyClip(NormClip):
    """Clip at a threshold that is raised or lowered in steps, each one explained.

    Every quarter of a window, the medians of its older and newer half are compared
    with the median when the threshold was last set. If both lie beyond the factor
    `change` on one side, and agree with each other within it, the threshold is
    multiplied by the ratio of the newer median to that one. A spike moves no median;
    a change that is still going on does not agree with itself.

    Args:
        threshold: to begin with. If not given, 2.5 times the median of the first
            window, during which nothing is clipped.
        window: norms that are looked at, 8 or more.
        change: the factor by which a median must differ, above 1.
        ceiling: a threshold that is never exceeded; may be scheduled.
        nonfinite: see `NormClip`.
        tell: who hears of each change, such as `run.event`.

    Attributes:
        log: the last changes, events of kind "clip_threshold" with before, after, why.

    >>> weight = torch.nn.Parameter(torch.zeros(1))
    >>> clip = PolicyClip(2.0, window=40)
    >>> for step in range(120):
    ...     weight.grad = torch.tensor([1.0 if step < 60 else 3.0])
    ...     _ = clip(weight)
    >>> [(event.body["before"], event.body["after"]) for event in clip.log]
    [(2.0, 6.0)]

    Raises:
        ClipError: a number is out of its range.
    """

    def __init__(
        self,
        threshold: float | None = None,
        *,
        window: int = 200,
        change: float = 1.25,
        ceiling: float | Scheduled | None = None,
        nonfinite: NonFinite = "keep",
        tell: Callable[[Event], None] | None = None,
    ) -> None:
        super().__init__(ceiling, nonfinite=nonfinite)
        if threshold is not None:
            positive(threshold, "threshold")
        if whole(window, "window") < FEWEST or not 1 < change < math.inf:
            raise ClipError(
                f"window={window!r} and change={change!r} came; expected {FEWEST} "
                "norms or more, and a factor above 1"
            )
        self.window, self.change, self.tell = window, change, tell
        self.log: deque[Event] = deque(maxlen=KEPT)
        self.memory["norms"] = torch.full((window,), torch.nan)
        begin = [math.inf if threshold is None else threshold, torch.nan]
        self.memory["threshold_median"] = torch.tensor(begin, dtype=torch.float64)

    @property
    def threshold(self) -> float:
        """What is clipped at now; infinite before the first window is full."""
        return self.memory["threshold_median"][0].item()

    def _threshold(self, norms: Norms) -> Any:
        held = self._recall("norms", norms)
        place = self.step % self.window
        held[place] = norms.xp.where(norms.finite(), norms.whole, math.nan)
        threshold = self.threshold
        seen = self.step + 1
        if seen >= self.window and seen % max(1, self.window // LOOKS) == 0:
            told: list[float] = held.tolist()
            self._look(told[place + 1 :] + told[: place + 1])
        return threshold

    def _look(self, norms: list[float]) -> None:
        """Compare the halves of the window, oldest norm first, with what was."""
        half = self.window // 2
        finite = [[n for n in part if n == n] for part in (norms[:half], norms[half:])]
        if not all(finite):
            return
        old, new = (median(part) for part in finite)
        threshold, known = self.memory["threshold_median"].tolist()
        if math.isnan(known):
            self._begin(threshold, median([*finite[0], *finite[1]]))
        elif self._agree(old, new, known):
            self._move(threshold, new / known, new)

    def _agree(self, old: float, new: float, known: float) -> bool:
        """Whether both medians lie beyond the factor on one side, near each other."""
        if min(old, new, known) <= 0:
            return False
        up = min(old, new) >= known * self.change
        down = max(old, new) <= known / self.change
        return (up or down) and max(old, new) <= min(old, new) * self.change

    def _begin(self, threshold: float, middle: float) -> None:
        """Take the first window as what is usual."""
        if math.isinf(threshold) and middle > 0:
            why = f"{TIMES_MEDIAN:g} times the median of the first {self.window} norms"
            self._set(threshold, TIMES_MEDIAN * middle, why=why)
        self.memory["threshold_median"][1] = middle

    def _move(self, threshold: float, ratio: float, middle: float) -> None:
        word = "raised" if ratio > 1 else "lowered"
        why = (
            f"{word}: both halves of the last {self.window} norms have a median beyond "
            f"{self.change:g} times of what it was; the newer one is {middle:.4g}, "
            f"{ratio:.4g} times that"
        )
        self._set(threshold, threshold * ratio, why=why)
        self.memory["threshold_median"][1] = middle

    def _set(self, before: float, after: float, *, why: str) -> None:
        self.memory["threshold_median"][0] = after
        told = before if math.isfinite(before) else None
        body = {"before": told, "after": after, "why": why}
        event = Event(self.step, "clip_threshold", body)
        self.log.append(event)
        LOG.info("step %d: %s", self.step, body)
        if self.tell is not None:
            self.tell(event)
