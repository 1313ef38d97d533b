"""Blocks of one channel come in, rows of ever coarser bins go out: a stored overview.

Level k holds bins of `READINGS * 2**k` consecutive readings: fixed places, so that a
growing run never shifts them. A row is `BINS` bins of one level. A row of level 0 is
made of readings, one of level k + 1 of two rows of level k; each is written once.
Pure: what waits for more readings is a value, replaced and never changed.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from surefoot.record.rows import Row, evenly
from surefoot.types import Floats, Steps

READINGS = 16
"""Of a bin of level 0: all levels together then add a quarter to the readings."""

BINS = 16
"""Of a row: a row of 200 layers takes 26 kB, so that a page's worth of rows is read
quickly, and at most 256 readings have no row yet."""

LOOSE_BYTES = 64 * 2**10
"""Readings of a channel that wait to be rolled together: one call of numpy for 256
readings of a narrow channel, and little memory for a wide one."""

LEVEL_BITS = 32
CHANNEL_BITS = 38
"""Rows of one channel and level lie together: `channel << 38 | level << 32 | place`."""


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """`n` bins: first and last step `[n]`; extremes and `broken` `[n, L]`.

    NaN is left out of the extremes (NaN if there is nothing else), infinities are
    not; `broken` tells whether any reading in a bin is not finite.
    """

    first: Steps
    last: Steps
    low: Floats
    high: Floats
    broken: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """One row of table `rollup`: the bins at one place of one level.

    Its last reading is number `taken` (from 1) of the channel's block `block`.
    """

    level: int
    place: int
    bins: Bins
    block: int
    taken: int


@dataclass(frozen=True, slots=True, eq=False)
class _Loose:
    """Readings of block `block` that are in no bin yet; `before` others of it are."""

    block: int
    before: int
    steps: Steps
    values: Floats


@dataclass(frozen=True, slots=True)
class Growth:
    """What of one channel waits for more readings."""

    loose: tuple[_Loose, ...] = ()
    bins: tuple[Bins, ...] = ()
    """Of level 0, fewer than a row's."""
    halves: tuple[Bins | None, ...] = field(default=())
    """By level from 1: the first half of its next row."""
    places: int = 0
    """Rows of level 0 so far."""


# --- growing --------------------------------------------------------------------


def grown(
    growth: Growth, block: int, *, steps: Steps, values: Floats
) -> tuple[Growth, list[Stored]]:
    """What waits after block `block` of a channel, and the rows that are complete.

    `steps` `[n]` and `values` `[n, L]` are kept, not copied.
    """
    loose = (*growth.loose, _Loose(block, 0, steps, values))
    count = sum(len(one.steps) for one in loose)
    size = sum(one.values.nbytes for one in loose)
    if count < READINGS or (count < READINGS * BINS and size < LOOSE_BYTES):
        return replace(growth, loose=loose), []
    whole = count // READINGS * READINGS
    fresh = _binned(
        np.concatenate([one.steps for one in loose])[:whole],
        np.concatenate([one.values for one in loose])[:whole],
    )
    have = sum(len(one.first) for one in growth.bins)
    bins = _joined((*growth.bins, fresh))
    rows: list[Stored] = []
    halves, places = growth.halves, growth.places
    complete = len(bins.first) // BINS
    for nth in range(complete):
        end = ((nth + 1) * BINS - have) * READINGS
        row = Stored(
            0, places, _part(bins, nth * BINS, (nth + 1) * BINS), *_place(loose, end)
        )
        more, halves = _chain(row, halves)
        rows += more
        places += 1
    rest = _part(bins, complete * BINS, len(bins.first))
    return Growth(_left(loose, whole), (rest,), halves, places), rows


def _binned(steps: Steps, values: Floats) -> Bins:
    steps = steps.reshape(-1, READINGS)
    values = values.reshape(len(steps), READINGS, -1)
    return Bins(
        steps.min(axis=1),
        steps.max(axis=1),
        np.fmin.reduce(values, axis=1),
        np.fmax.reduce(values, axis=1),
        np.logical_or.reduce(~np.isfinite(values), axis=1),
    )


def _place(loose: Sequence[_Loose], end: int) -> tuple[int, int]:
    """The block of loose reading number `end` (from 1), and its number in there."""
    for one in loose:
        if end <= len(one.steps):
            return one.block, one.before + end
        end -= len(one.steps)
    raise IndexError(f"{end} readings more than are loose")


def _left(loose: Sequence[_Loose], whole: int) -> tuple[_Loose, ...]:
    """What is loose after the first `whole` readings; copied, to free the blocks."""
    left: list[_Loose] = []
    for one in loose:
        cut = min(whole, len(one.steps))
        whole -= cut
        if cut < len(one.steps):
            steps, values = one.steps[cut:].copy(), one.values[cut:].copy()
            left.append(_Loose(one.block, one.before + cut, steps, values))
    return tuple(left)


def _chain(
    row: Stored, halves: tuple[Bins | None, ...]
) -> tuple[list[Stored], tuple[Bins | None, ...]]:
    """A row of level 0 and the coarser ones that it completes; the halves left."""
    rows, waiting = [row], list(halves)
    while True:
        above = rows[-1].level
        half = _paired(rows[-1].bins)
        if above == len(waiting):
            waiting.append(None)
        first = waiting[above]
        if first is None:
            waiting[above] = half
            return rows, tuple(waiting)
        waiting[above] = None
        bins, place = _joined((first, half)), rows[-1].place // 2
        rows.append(Stored(above + 1, place, bins, row.block, row.taken))


def _paired(bins: Bins) -> Bins:
    """Half as many bins, each of two neighbours."""
    return Bins(
        np.minimum(bins.first[0::2], bins.first[1::2]),
        np.maximum(bins.last[0::2], bins.last[1::2]),
        np.fmin(bins.low[0::2], bins.low[1::2]),
        np.fmax(bins.high[0::2], bins.high[1::2]),
        bins.broken[0::2] | bins.broken[1::2],
    )


def _joined(parts: Sequence[Bins]) -> Bins:
    return Bins(
        np.concatenate([one.first for one in parts]),
        np.concatenate([one.last for one in parts]),
        np.concatenate([one.low for one in parts]),
        np.concatenate([one.high for one in parts]),
        np.concatenate([one.broken for one in parts]),
    )


def _part(bins: Bins, start: int, stop: int) -> Bins:
    """Copied, so that a few bins do not hold the memory of many."""
    part = slice(start, stop)
    return Bins(
        bins.first[part].copy(),
        bins.last[part].copy(),
        bins.low[part].copy(),
        bins.high[part].copy(),
        bins.broken[part].copy(),
    )


# --- rows -----------------------------------------------------------------------


def rollup_number(channel: int, level: int, place: int) -> int:
    """The id of a row of table `rollup`."""
    return (channel << CHANNEL_BITS) + (level << LEVEL_BITS) + place


def rollup_row(channel: int, stored: Stored) -> Row:
    """Row of table `rollup`; evenly spaced first steps are not stored."""
    bins = stored.bins
    first, last = int(bins.first.min()), int(bins.last.max())
    even = evenly(first, int(bins.first[-1]), BINS)
    listed = None if np.array_equal(even, bins.first) else bins.first.tobytes()
    row = (
        rollup_number(channel, stored.level, stored.place),
        first, last, stored.block, stored.taken,
        (int(bins.first[-1]) if listed is None else listed),
        bins.low.tobytes(), bins.high.tobytes(), np.packbits(bins.broken).tobytes(),
    )  # fmt: skip
    return (*row, _crc(row))


def rollup_whole(row: Row) -> bool:
    """Whether a row of `rollup` is as it was written."""
    try:
        return _crc(row[:-1]) == row[-1]
    except (TypeError, struct.error):
        return False


def _crc(row: Row) -> int:
    number, first, last, block, taken, steps, low, high, broken = row
    at = steps if isinstance(steps, bytes) else struct.pack("<q", steps)
    crc = zlib.crc32(struct.pack("<qqqqq", number, first, last, block, taken) + at)
    return zlib.crc32(broken, zlib.crc32(high, zlib.crc32(low, crc)))


def bins_in(rows: Sequence[Row], layers: int) -> Bins:
    """The bins of whole rows of one channel, in their order: `[16 * rows]`."""
    shape = (BINS * len(rows), layers)
    first = _steps_in(rows)
    after = np.append(first[1:], rows[-1][2] + 1)
    bits = np.frombuffer(b"".join([row[8] for row in rows]), np.uint8)
    return Bins(
        first,
        # Between rows the next may begin later than one step on; the row knows.
        np.minimum(np.maximum(after - 1, first), np.repeat([r[2] for r in rows], BINS)),
        np.frombuffer(b"".join([row[6] for row in rows]), "<f4").reshape(shape),
        np.frombuffer(b"".join([row[7] for row in rows]), "<f4").reshape(shape),
        np.unpackbits(bits, count=shape[0] * layers).view(np.bool_).reshape(shape),
    )


def _steps_in(rows: Sequence[Row]) -> Steps:
    """First steps of the bins of rows, at once where all are evenly spaced."""
    if any(isinstance(row[5], bytes) for row in rows):
        return np.concatenate([_listed_in(row) for row in rows])
    first = np.array([row[1] for row in rows], np.int64)
    stride = (np.array([row[5] for row in rows], np.int64) - first) // (BINS - 1)
    return (first[:, None] + stride[:, None] * np.arange(BINS)).ravel()


def _listed_in(row: Row) -> Steps:
    if isinstance(row[5], bytes):
        return np.frombuffer(row[5], dtype="<i8")
    return evenly(row[1], row[5], BINS)
