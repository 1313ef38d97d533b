"""Two pieces of work come in, the ratio of their CPU times goes out.

Both are run in turn, many times, on one thread; the ratio is the median of those of
neighbours in time, so that what else the machine does meets both alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles

Work = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Measure:
    """What is compared: `ours` and `peer` make the work, set-up not timed.

    `target` is the largest ratio aimed at; without a peer it
    is the largest time in milliseconds. `ours` counts `share` times: 0.1 for what is
    done every tenth step. `batches` of work are timed together, where one is short.
    """

    name: str
    peer_name: str
    target: float
    ours: Callable[[], Work]
    peer: Callable[[], Work] | None = None
    share: float = 1.0
    batches: int = 1


@dataclass(frozen=True, slots=True)
class Result:
    """Milliseconds of CPU a time of both, the ratio, and its quartiles."""

    measure: Measure
    ours_ms: float
    peer_ms: float
    ratio: float
    low: float
    high: float

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        return self.ratio <= self.measure.target


def result(measure: Measure, *, rounds: int) -> Result:
    """Interleaved rounds after two that are not counted."""
    works = [measure.ours()] + ([measure.peer()] if measure.peer else [])
    for work in works * 2:
        work()
    times = [[_seconds(work, measure.batches) for work in works] for _ in range(rounds)]
    ours = [row[0] * measure.share for row in times]
    ratios = [o / row[1] if measure.peer else o * 1e3 for o, row in _with(ours, times)]
    low, _, high = quantiles(ratios, n=4)
    peer = median(row[1] for row in times) * 1e3 if measure.peer else 0.0
    return Result(measure, median(ours) * 1e3, peer, median(ratios), low, high)


def _with(
    ours: list[float], times: list[list[float]]
) -> list[tuple[float, list[float]]]:
    return list(zip(ours, times, strict=True))


def _seconds(work: Work, batches: int) -> float:
    start = time.process_time()
    for _ in range(batches):
        work()
    return (time.process_time() - start) / batches
