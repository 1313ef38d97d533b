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
"""From how many robust standard deviations from its neighbours a batch is listed.
Of 2,000 bins of Gaussian readings none lies beyond 5; batches of real data have
heavier tails, and an empty list is better than one of ordinary batches."""

MOST = 10
_NEIGHBOURS = 25  # bins on either side whose median is what is usual there
_FEWEST = 20  # bins below which nothing is usual yet

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Reason:
    """One number of a batch: what it is, what is usual around it, and how far off.

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
    far = np.where(above >= below, above, below)
    far[~np.isfinite(far)] = 0
    spread = _spread(above, below)
    if spread == 0:
        return []
    order = np.argsort(-far, kind="stable")[:MOST]
    picked = [at for at in order if far[at] >= LEAST_DEVIATIONS * spread]
    found: list[tuple[int, Reason]] = []
    for at in picked:
        value = float(high[at] if above[at] >= below[at] else low[at])
        step = _step_of(record, (quantity, stream), value, _bin(rolled.steps, at))
        reason = Reason(quantity, value, float(usual[at]), float(far[at] / spread))
        found.append((step, reason))
    return found


def _usual(values: Array) -> Array:
    """Median of the neighbours of each value on both sides, itself included."""
    padded = np.pad(values, _NEIGHBOURS, mode="reflect") if len(values) > 1 else values
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * _NEIGHBOURS + 1)
    kept = np.where(np.isfinite(windows), windows, np.nan)
    empty = np.isnan(kept).all(axis=1)
    kept[empty] = 0
    return np.nanmedian(kept, axis=1)


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
