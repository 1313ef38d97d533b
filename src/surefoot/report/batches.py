"""A record comes in, the steps whose batch stands out go out, most striking first.

No alarm: a list to look at beside a diagnosis. A batch stands out by its loss or by
the statistics of its inputs and targets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from surefoot.report.panels import POINTS, Record
from surefoot.signatures.statistics import level, scale
from surefoot.types import Floats, Steps

QUANTITIES = (
    "loss",
    "input_mean",
    "input_std",
    "input_absmax",
    "target_mean",
    "target_std",
)
"""Numbers about one batch, looked at where they were recorded."""

LEAST_DEVIATIONS = 8.0
"""From how many robust standard deviations from those before it a batch is listed.
Of 2,000 bins of Gaussian readings none lies beyond 5; batches of real data have
heavier tails, and an empty list is better than one of ordinary batches."""

MOST = 10
_BEFORE = 16  # bins before one whose median is what is usual there
_RECOVERY = 32  # bins in which a loss recovers from a batch that threw it back
_FEWEST = 20  # bins below which nothing is usual yet

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Reason:
    """One number of a batch: what it is, what was usual before it, and how far off.

    `deviations` is the distance in robust standard deviations (MAD) of the run.
    """

    what: str
    value: float
    usual: float
    deviations: float


@dataclass(frozen=True, slots=True)
class Outstanding:
    """A step, and all that is unusual about its batch, the strongest first."""

    step: int
    reasons: tuple[Reason, ...]


def outstanding(record: Record, stream: str = "main") -> tuple[Outstanding, ...]:
    """At most ten steps whose batches stand out, the most striking first."""
    steps: dict[int, list[Reason]] = {}
    for quantity in QUANTITIES:
        if quantity in record.quantities(stream):
            for step, reason in _striking(record, quantity, stream):
                steps.setdefault(step, []).append(reason)
    found = [
        Outstanding(step, tuple(sorted(reasons, key=_weight)))
        for step, reasons in steps.items()
    ]
    return tuple(sorted(found, key=lambda one: _weight(one.reasons[0]))[:MOST])


def _weight(reason: Reason) -> float:
    return -reason.deviations


def _striking(record: Record, quantity: str, stream: str) -> list[tuple[int, Reason]]:
    """The most unusual bins of a quantity, each at its own step."""
    seen = record.overview(quantity, stream, points=POINTS)
    rolled = seen.rollup
    if len(rolled.steps) < _FEWEST or len(seen.layers) != 1:
        return []
    low, high = (one[:, 0].astype(np.float64) for one in (rolled.low, rolled.high))
    usual = _usual((low + high) / 2)
    above, below = high - usual, usual - low
    spread = _spread(above, below)
    if spread == 0:
        return []
    far = above if quantity == "loss" else np.maximum(above, below)
    far = np.where(np.isfinite(far), far / spread, 0)
    if quantity == "loss":
        far[_aftermath(far)] = 0
    found: list[tuple[int, Reason]] = []
    for at in np.argsort(-far, kind="stable")[:MOST]:
        if far[at] < LEAST_DEVIATIONS:
            break
        value = float(low[at] if below[at] > above[at] else high[at])
        step = _step_of(record, (quantity, stream), value, _bin(rolled.steps, at))
        reason = Reason(quantity, value, float(usual[at]), float(far[at]))
        found.append((step, reason))
    return found


def _usual(values: Array) -> Array:
    """Median of the readings just before each, NaN for the first few.

    Of those before, because what a bad batch does to a loss lasts, and because a loss
    that falls is higher at its start than all that follows.
    """
    out = np.full(len(values), np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(values, _BEFORE)[:-1]
    known = np.isfinite(windows).any(axis=1)
    out[_BEFORE:][known] = np.nanmedian(
        np.where(np.isfinite(windows[known]), windows[known], np.nan), axis=1
    )
    return out


def _aftermath(far: Array) -> npt.NDArray[np.bool_]:
    """Bins of a loss that stands out soon after another did: not a batch of its own."""
    high = far >= LEAST_DEVIATIONS
    recent = np.zeros(len(far), np.bool_)
    for back in range(1, _RECOVERY + 1):
        recent[back:] |= high[:-back]
    return high & recent


def _spread(above: Array, below: Array) -> float:
    """Robust standard deviation of how far bins reach from what is usual there.

    Bins of many steps always reach some way; only what reaches farther than they
    usually do counts.
    """
    reach = np.maximum(above, below)
    reach = reach[np.isfinite(reach)]
    return max(scale(reach), level(reach)) if reach.size else 0.0


def _bin(steps: Steps, at: int) -> tuple[int, int | None]:
    end = int(steps[at + 1]) if at + 1 < len(steps) else None
    return int(steps[at]), end


def _step_of(
    record: Record, source: tuple[str, str], value: float, span: tuple[int, int | None]
) -> int:
    """The step within a bin at which the value was read."""
    seen = record.overview(
        source[0], source[1], points=POINTS, start=span[0], stop=span[1], width=1
    )
    rolled = seen.rollup
    if not len(rolled.steps):
        return span[0]
    distance = np.abs(_column(rolled.high) - value)
    distance[~np.isfinite(distance)] = np.inf
    return int(rolled.steps[int(np.argmin(distance))])


def _column(values: Floats) -> Array:
    return values[:, 0].astype(np.float64)
