"""Rules that other projects apply to the loss: numbers come in, alarms go out.

Written by us from the description of the rules; both need nothing to be installed.
"""

from __future__ import annotations

import math
from collections import deque
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from benchmarks.zoo.peers.alarm import Peer, Watcher, number

SPIKE = "loss spike"
NAN = "loss is not finite"


class Lightning(Watcher):
    """Lightning's `SpikeDetection`: the loss rose and is 3 × the mean of the last ten.

    Its defaults: ten batches, one batch of warm-up, a relative tolerance of two.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.window: deque[float] = deque(maxlen=10)

    def after_update(self, step: int, loss: Any, batch: Any) -> None:
        value = number(loss)
        if not math.isfinite(value):
            self.say(step, NAN)
            return
        if step >= 1 and self.window and value >= self.window[-1]:
            mean = fmean(self.window)
            if abs(value - mean) >= 2.0 * abs(mean):
                self.say(step, SPIKE)
                return
        self.window.append(value)


class SixSigma(Watcher):
    """OLMo's rule for skipping a step: the loss is 6 σ above the last 128 losses."""

    LEAST = 20
    """Losses before it speaks; half the window there, fewer here, as runs are short."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.window: deque[float] = deque(maxlen=128)

    def after_update(self, step: int, loss: Any, batch: Any) -> None:
        value = number(loss)
        if not math.isfinite(value):
            self.say(step, NAN)
            return
        if len(self.window) >= self.LEAST:
            mean, sigma = fmean(self.window), pstdev(self.window)
            if value > mean + 6.0 * sigma:
                self.say(step, SPIKE)
        self.window.append(value)


WORDS = {SPIKE: ("loss spike",), NAN: ("non-finite",)}
LIGHTNING = Peer("Lightning's spike rule", "", "live", Lightning, WORDS)
SIX_SIGMA = Peer("OLMo's 6σ rule", "", "live", SixSigma, WORDS)
