"""A record's rows and what is asked come in, extremes on few bins go out.

Rollups are read at the finest level that is small enough, their end, for which that
level has no row yet, at finer ones, and the last readings as they are. What has no
rollups (old records, damaged ones) is read block by block, in little memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from surefoot.record import pyramid, rows
from surefoot.record.pyramid import BINS, READINGS
from surefoot.record.rollup import (
    Overview,
    Rollup,
    as_bins,
    check_bins,
    coarser,
    joined,
    side_by_side,
    width_for,
)
from surefoot.record.tables import FIRST, LAST, Channel, Tables
from surefoot.types import Floats, Steps

VALUES = 800_000
"""Most numbers that are read for one overview, of rollups or of readings in their
place: what 5 ms of CPU time allow, see `benchmarks/dashboard`."""

_FEWEST = 200  # bins at least where a width was asked for: its edges are finer then

_BATCH_BYTES = 128 * 2**10  # of rows at a time

Columns = npt.NDArray[np.intp] | slice


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked of an overview; see `RecordReader.overview`.

    Raises:
        ValueError: fewer than 2 points, or a width that is no power of two.
    """

    points: int
    start: int | None = None
    stop: int | None = None
    width: int | None = None
    layers: AbstractSet[str] | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        check_bins(self.points)
        width = self.width
        if width is not None and (width < 1 or width & (width - 1)):
            raise ValueError(
                f"width is {width}; expected a power of two of steps (1, 2, 4, …)"
            )

    @property
    def steps(self) -> range:
        """The steps that are asked for."""
        return range(
            FIRST if self.start is None else self.start,
            LAST if self.stop is None else self.stop,
        )


def overview_of(tables: Tables, channels: Sequence[Channel], asked: Query) -> Overview:
    """One quantity of one stream; `channels` are all that hold it, at least one."""
    names = tuple(
        dict.fromkeys(
            name
            for one in channels
            for name in one.layers
            if asked.layers is None or name in asked.layers
        )
    )
    place = {name: index for index, name in enumerate(names)}
    parts: list[tuple[list[int], Rollup]] = []
    for channel in channels:
        kept = [at for at, name in enumerate(channel.layers) if name in place]
        if kept:
            everything = len(kept) == len(channel.layers)
            columns = slice(None) if everything else np.array(kept)
            own = [place[channel.layers[at]] for at in kept]
            found = _parts(_Look(tables, channel, asked, columns))
            parts += [(own, one) for one in found if len(one.steps)]
    quantity, stream = channels[0].quantity, channels[0].stream
    if not parts:
        values = np.empty((0, len(names)), np.float32)
        empty = Rollup(np.empty(0, np.int64), values, values, values > 0, 1)
        return Overview(quantity, stream, names, coarser(empty, asked.width or 1))
    width = asked.width
    if width is None:
        steps = np.sort(np.concatenate([one.steps for _, one in parts]))
        width = width_for(steps, asked.points, max(one.width for _, one in parts))
    return Overview(quantity, stream, names, side_by_side(parts, len(names), width))


@dataclass(frozen=True, slots=True)
class _Look:
    """What is asked of one channel; `kept` are the columns that are."""

    tables: Tables
    channel: Channel
    asked: Query
    kept: Columns


def _parts(look: _Look) -> list[Rollup]:
    """One channel on more bins than are asked for; steps ascend in each part."""
    count = look.tables.rollup_rows(look.channel)
    found = _from_rollups(look, count) if count else None
    return [_from_blocks(look)] if found is None else found


# --- from rollups -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Cut:
    """Rows `low` to `high` (out) of a level; level -1 are the readings under level 0.

    `first` and `last` are the steps that they reach over.
    """

    level: int
    low: int
    high: int
    first: int
    last: int


def _from_rollups(look: _Look, count: int) -> list[Rollup] | None:
    """From `count` rows of level 0 and the coarser ones; None if any is damaged."""
    cut = _cut(look, count)
    parts: list[Rollup] = []
    for level in range(cut.level, -1, -1):
        end = count >> level
        places = range(cut.low, cut.high)
        if level < cut.level:  # what has no row yet of the level above
            places = range(end - (end & 1), end)
        if _touching(look, level, places) is not None:
            bins = _bins(look, level, places)
            if bins is None:
                return None
            parts.append(_within(bins, look))
    blocks = _blocks(look, cut, count)
    if blocks is None:
        return None
    return [*parts, *(_trimmed(steps, values, look) for steps, values in blocks)]


def _cut(look: _Look, count: int) -> _Cut:
    """From the coarsest level down to the finest one that is small enough."""
    level = count.bit_length() - 1
    low, high = 0, 1
    while True:
        end = count >> level
        here = _touching(look, level, range(low, high))
        if end & 1 and high < end:  # the last row has none above it
            here = _both(here, _touching(look, level, range(end - 1, end)))
        if here is not None and not _too_coarse(here, look):
            return here
        low, high = (end, end) if here is None else (here.low, here.high)
        if level == 0:
            return _Cut(-1, low, high, 0, 0)
        level, low, high = level - 1, 2 * low, 2 * high


def _touching(look: _Look, level: int, places: range) -> _Cut | None:
    """From the first to the last row of `places` that touches the steps asked for."""
    if not places:
        return None
    found = look.tables.rollups_touching(
        look.channel, level, places=places, steps=look.asked.steps
    )
    return None if found is None else _Cut(level, *found)


def _both(one: _Cut | None, other: _Cut | None) -> _Cut | None:
    if one is None or other is None:
        return one or other
    return _Cut(
        one.level,
        min(one.low, other.low),
        max(one.high, other.high),
        min(one.first, other.first),
        max(one.last, other.last),
    )


def _too_coarse(cut: _Cut, look: _Look) -> bool:
    """Whether the level below (or the readings) is to be read instead."""
    asked, wide = look.asked, len(look.channel.layers)
    # A row at each end may lie half beyond the range.
    bins = max(BINS * (cut.high - cut.low - 1), 1)
    reach = cut.last - cut.first + 1
    apart = reach / (BINS * (cut.high - cut.low))
    points = asked.points
    if asked.width is not None:
        if apart > asked.width:
            return True
        points = max(reach // asked.width, _FEWEST)
    if cut.level == 0:
        # Bins become as wide as a power of two of steps: finer ones show no more.
        finer = apart > _power_of_two(reach / points)
        return finer and bins * READINGS * wide <= VALUES
    # Those that are left when bins are as wide as the next power of two of steps.
    left = 2 * bins * apart / _power_of_two(apart)
    return left <= points and 2 * bins * 2 * wide <= VALUES


def _power_of_two(least: float) -> int:
    """The smallest power of two that is not below `least`."""
    return 1 << max(math.ceil(least) - 1, 0).bit_length()


def _bins(look: _Look, level: int, places: range) -> pyramid.Bins | None:
    """The kept columns of some rows; None if any is damaged.

    A few rows at a time: memory that is used again is several times cheaper than
    memory that the system must give and clear first.
    """
    wide = len(look.channel.layers)
    few = max(1, _BATCH_BYTES // (BINS * wide * 8))
    shape = (
        BINS * len(places),
        wide if isinstance(look.kept, slice) else len(look.kept),
    )
    first, last = np.empty(shape[0], np.int64), np.empty(shape[0], np.int64)
    low, high = np.empty(shape, np.float32), np.empty(shape, np.float32)
    broken = np.empty(shape, np.bool_)
    for at in range(0, len(places), few):
        found = look.tables.rollups(look.channel, level, places[at : at + few])
        if found is None:
            return None
        some = pyramid.bins_in(found, wide)
        part = slice(BINS * at, BINS * (at + len(found)))
        first[part], last[part] = some.first, some.last
        low[part], high[part] = some.low[:, look.kept], some.high[:, look.kept]
        broken[part] = some.broken[:, look.kept]
    return pyramid.Bins(first, last, low, high, broken)


def _within(bins: pyramid.Bins, look: _Look) -> Rollup:
    """Bins that touch the range, none of which begins before it."""
    steps = look.asked.steps
    part: slice | npt.NDArray[np.intp] = slice(None)
    if bool(np.all(bins.first[1:] > bins.first[:-1])):
        low = int(np.searchsorted(bins.last, steps.start))
        part = slice(low, max(low, int(np.searchsorted(bins.first, steps.stop))))
    else:
        part = np.argsort(bins.first, kind="stable")
    first = bins.first[part]
    apart = np.diff(first) if len(first) > 1 else bins.last[part] - first + 1
    usual = int(np.median(apart)) if len(apart) else 1
    return Rollup(
        np.clip(first, steps.start, steps.stop - 1),
        bins.low[part],
        bins.high[part],
        bins.broken[part],
        _power_of_two(usual),
    )


# --- from readings ----------------------------------------------------------------


def _blocks(look: _Look, cut: _Cut, count: int) -> list[tuple[Steps, Floats]] | None:
    """The readings in place of rows, if these are cut, and those after all rows.

    None if they are damaged.
    """
    tables, channel = look.tables, look.channel
    spans = [(count, None)]
    if cut.level < 0:
        spans = [(cut.low, None)]
        if cut.high < count:
            spans = [(cut.low, cut.high), (count, None)]
    readings: list[tuple[Steps, Floats]] = []
    for low, high in spans:
        begin = tables.block_of(channel, low - 1) if low else (0, 0)
        end = None if high is None else tables.block_of(channel, high - 1)
        if begin is None or (high is not None and end is None):
            return None
        found = tables.blocks_from(channel, begin[0], None if end is None else end[0])
        if found is None:
            return None
        steps, values = rows.all_readings_in(found, len(channel.layers))
        readings.append((steps[begin[1] :], values[begin[1] :]))
    return readings


def _from_blocks(look: _Look) -> Rollup:
    """All readings, block by block; rolled together as soon as they are many."""
    asked = look.asked
    wide = max(1, len(look.channel.layers))
    most = max(2 * asked.points, min(8 * asked.points, VALUES // wide))
    width, held = asked.width or 1, 0
    parts: list[Rollup] = []
    for steps, values in look.tables.readings(look.channel, asked.start, asked.stop):
        parts.append(_trimmed(steps, values, look))
        held += len(parts[-1].steps)
        if held > most:
            whole = joined(parts)
            if asked.width is None:
                width = width_for(whole.steps, 2 * asked.points, width)
            parts = [coarser(whole, width)]
            held = len(parts[0].steps)
            most = max(most, 2 * held)
    return joined(parts or [_trimmed(*_no_readings(wide), look)])


def _trimmed(steps: Steps, values: Floats, look: _Look) -> Rollup:
    """Readings in the range, each as a bin of its own, in the order of their steps."""
    asked = look.asked.steps
    if bool(np.any(steps[1:] < steps[:-1])):
        order = np.argsort(steps, kind="stable")
        steps, values = steps[order], values[order]
    low, high = (int(np.searchsorted(steps, at)) for at in (asked.start, asked.stop))
    steps, values = steps[low:high], values[low:high]
    return as_bins(values[:, look.kept], steps)


def _no_readings(layers: int) -> tuple[Steps, Floats]:
    return np.empty(0, np.int64), np.empty((0, layers), np.float32)
