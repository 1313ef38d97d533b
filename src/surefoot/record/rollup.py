"""Long series come in, few points that keep every extreme go out.

Bins are powers of two of steps, at fixed places, so that a growing run does not
shift what was already drawn, and a spike of one step survives any reduction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from surefoot.types import Floats, Steps


@dataclass(frozen=True, slots=True, eq=False)
class Rollup:
    """What n bins of `width` steps hold; arrays but `steps` are shaped like the values.

    `steps` `[n]` is the first recorded step in each bin. `low` and `high` are the
    extremes, infinities included and NaN left out (NaN if there is nothing else);
    `broken` tells whether any reading in the bin is NaN or infinite.
    """

    steps: Steps
    low: Floats
    high: Floats
    broken: npt.NDArray[np.bool_]
    width: int


@dataclass(frozen=True, slots=True, eq=False)
class Overview:
    """A quantity over time in bins: `rollup` has a column for each of `layers`."""

    quantity: str
    stream: str
    layers: tuple[str, ...]
    rollup: Rollup


def rollup(
    values: Floats, steps: Steps, bins: int, *, width: int | None = None
) -> Rollup:
    """Minimum and maximum of `values` on at most `bins` bins, or bins of a width.

    Args:
        values: Readings, shape `[n]` or `[n, L]`.
        steps: Their steps, strictly increasing, shape `[n]`.
        bins: How many points may come out, at least 2.
        width: Steps of a bin; None: as few as keep to `bins`.

    Raises:
        ValueError: fewer than 2 bins, or shapes that do not agree.

    >>> loss = np.ones(1000, np.float32); loss[517] = 90
    >>> float(rollup(loss, np.arange(1000), 20).high.max())
    90.0
    """
    if bins < 2:
        raise ValueError(f"bins is {bins}; expected at least 2; ask for more points")
    if len(values) != len(steps):
        raise ValueError(
            f"{len(values)} values came with {len(steps)} steps; expected one row of "
            "values a step; pass both of the same series"
        )
    width = _width(steps, bins) if width is None else width
    if not len(steps):
        return Rollup(steps, values, values, np.isnan(values), width)
    starts = np.flatnonzero(np.diff(steps // width, prepend=steps[0] // width - 1))
    finite = np.isfinite(values)
    return Rollup(
        steps=steps[starts],
        low=np.fmin.reduceat(values, starts),
        high=np.fmax.reduceat(values, starts),
        broken=np.logical_or.reduceat(~finite, starts),
        width=width,
    )


def _width(steps: Steps, bins: int) -> int:
    """The smallest power of two of steps that makes at most `bins` bins."""
    width = 1
    while 1 + np.count_nonzero(np.diff(steps // width)) > bins:
        width *= 2
    return width
