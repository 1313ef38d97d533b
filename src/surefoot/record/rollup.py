"""Long series come in, few points that keep every extreme go out.

Bins are powers of two of steps, at fixed places, so that a growing run does not
shift what was already drawn, and a spike of one step survives any reduction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from surefoot.types import Floats, Steps

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Rollup:
    """What n bins of `width` steps hold; arrays but `steps` are shaped like the values.

    `steps` `[n]` is the first recorded step in each bin. `low` and `high` are the
    extremes, infinities included and NaN left out (NaN if there is nothing else).
    `broken` tells whether any reading in the bin is NaN or infinite.
    """

    steps: Steps
    low: Floats
    high: Floats
    broken: Flags
    width: int


@dataclass(frozen=True, slots=True, eq=False)
class Overview:
    """A quantity at a glance: `rollup.low[:, i]` belongs to `layers[i]`."""

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
    check_bins(bins)
    if len(values) != len(steps):
        raise ValueError(
            f"{len(values)} values came with {len(steps)} steps; expected one row of "
            "values a step; pass both of the same series"
        )
    width = width_for(steps, bins) if width is None else width
    return coarser(as_bins(values, steps), width)


def check_bins(bins: int) -> None:
    """Refuse to draw a line on one point.

    Raises:
        ValueError: fewer than 2.
    """
    if bins < 2:
        raise ValueError(f"bins is {bins}; expected at least 2; ask for more points")


def as_bins(values: Floats, steps: Steps) -> Rollup:
    """Each reading as a bin of its own."""
    return Rollup(steps, values, values, ~np.isfinite(values), 1)


def width_for(steps: Steps, bins: int, at_least: int = 1) -> int:
    """The smallest power of two of steps that makes at most `bins` bins.

    `steps` are in ascending order, `at_least` is a power of two.
    """
    width = at_least
    keys = _distinct(steps // width)
    while len(keys) > bins:
        width *= 2
        keys = _distinct(keys // 2)
    return width


def coarser(fine: Rollup, width: int) -> Rollup:
    """The same on bins of `width` steps; a bin counts where its first step lies."""
    if not len(fine.steps):
        return Rollup(fine.steps, fine.low, fine.high, fine.broken, width)
    keys = fine.steps // width
    starts = np.flatnonzero(np.diff(keys, prepend=keys[:1] - 1))
    if len(starts) == len(keys):
        return Rollup(fine.steps, fine.low, fine.high, fine.broken, width)
    some = bool(fine.broken.any())
    return Rollup(
        steps=fine.steps[starts],
        low=_reduced(np.fmin, fine.low, starts),
        high=_reduced(np.fmax, fine.high, starts),
        broken=(
            _reduced(np.logical_or, fine.broken, starts)
            if some
            else np.zeros((len(starts), *fine.broken.shape[1:]), np.bool_)
        ),
        width=width,
    )


def joined(parts: Sequence[Rollup]) -> Rollup:
    """Parts of the same layers as one, in the order of their steps."""
    if len(parts) == 1:
        return parts[0]
    steps = np.concatenate([one.steps for one in parts])
    low = np.concatenate([one.low for one in parts])
    high = np.concatenate([one.high for one in parts])
    broken = np.concatenate([one.broken for one in parts])
    width = max(one.width for one in parts)
    if bool(np.all(steps[1:] >= steps[:-1])):
        return Rollup(steps, low, high, broken, width)
    order = np.argsort(steps, kind="stable")
    return Rollup(steps[order], low[order], high[order], broken[order], width)


def side_by_side(
    parts: Sequence[tuple[Sequence[int], Rollup]], layers: int, width: int
) -> Rollup:
    """Parts of different layers as one on bins of `width` steps.

    Args:
        parts: The columns among all `layers` that a part fills, and the part.
        layers: Number of columns; NaN and not broken where no part says anything.
        width: Steps a bin is wide.
    """
    binned = [(columns, coarser(one, width)) for columns, one in parts]
    if len(binned) == 1 and list(binned[0][0]) == list(range(layers)):
        return binned[0][1]
    firsts = np.sort(np.concatenate([one.steps for _, one in binned]), kind="stable")
    keys = firsts // width
    starts = np.flatnonzero(np.diff(keys, prepend=keys[:1] - 1))
    steps, keys = firsts[starts], keys[starts]
    low = np.full((len(steps), layers), np.nan, np.float32)
    high, broken = low.copy(), np.zeros(low.shape, np.bool_)
    for columns, one in binned:
        place = _place(np.searchsorted(keys, one.steps // width), columns)
        low[place] = np.fmin(low[place], one.low)
        high[place] = np.fmax(high[place], one.high)
        broken[place] |= one.broken
    return Rollup(steps, low, high, broken, width)


# --- parts ----------------------------------------------------------------------


_FEW = 32  # calls of numpy on single rows of all groups; larger groups one by one


def _distinct(ordered: Steps) -> Steps:
    if not len(ordered):
        return ordered
    return ordered[np.append(True, ordered[1:] != ordered[:-1])]


def _place(rows: npt.NDArray[np.intp], columns: Sequence[int]) -> Any:
    """Where a part goes: as slices, which copy nothing, where it can be."""
    if not len(rows) or not len(columns):
        return slice(0, 0), slice(0, 0)
    first, last = int(rows[0]), int(rows[-1])
    among = np.array(columns, np.intp)
    if last - first + 1 != len(rows) or bool(np.any(np.diff(among) != 1)):
        return rows[:, None], among
    return slice(first, last + 1), slice(int(among[0]), int(among[-1]) + 1)


def _reduced(function: np.ufunc, values: Any, starts: npt.NDArray[np.intp]) -> Any:
    """`function.reduceat(values, starts)`, several times faster on many columns."""
    if values.ndim < 2 or values.shape[1] < _FEW:
        return function.reduceat(values, starts, axis=0)
    sizes = np.diff(starts, append=len(values))
    if len(sizes) > 2 and bool(np.all(sizes[1:-1] == sizes[1])):
        return _reduced_evenly(function, values, starts=starts, size=int(sizes[1]))
    found = values[starts]
    for nth in range(1, min(int(sizes.max()), _FEW)):
        longer = np.flatnonzero((sizes > nth) & (sizes <= _FEW))
        found[longer] = function(found[longer], values[starts[longer] + nth])
    for long in np.flatnonzero(sizes > _FEW):
        part = values[starts[long] : starts[long] + sizes[long]]
        function.reduce(part, axis=0, out=found[long])
    return found


def _reduced_evenly(
    function: np.ufunc,
    values: Any,
    *,
    starts: npt.NDArray[np.intp],
    size: int,
) -> Any:
    """The same where all groups but the first and the last have `size` rows."""
    second, last = int(starts[1]), int(starts[-1])
    found = np.empty((len(starts), values.shape[1]), values.dtype)
    function.reduce(values[:second], axis=0, out=found[0])
    body = values[second:last].reshape(-1, size, values.shape[1])
    function.reduce(body, axis=1, out=found[1:-1])
    function.reduce(values[last:], axis=0, out=found[-1])
    return found
