"""A record comes in, as much of it as memory allows goes out, and what was left out.

A diagnosis runs inside the training process, too. Of a very long stream it reads the
beginning and the end: most faults show at the start, and the latest one is news.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from surefoot.record.reader import Blocks, RecordReader
from surefoot.record.rows import merged_blocks
from surefoot.types import Series

MOST_VALUES = 45_000_000
"""Readings of one stream that are held at once. With what signatures compute from
them, 10 bytes a reading were measured (50 million, mostly of 200 layers): 450 MB."""

NARROW_SHARE = 0.05
"""A quantity that takes no more of them than this is read whole, such as the loss of
two million steps: what happened at one step shows there first."""

LAST_SHARE = 2 / 3
"""Of the steps that are read, those at the end."""


@dataclass(frozen=True, slots=True)
class Extent:
    """What of a stream is looked at: these steps of the quantities in `cut`.

    All of the others; all of everything where `spans` is empty. `steps` is how many
    steps there are.
    """

    steps: int
    spans: tuple[range, ...] = ()
    cut: frozenset[str] = frozenset()


def extent(
    reader: RecordReader, stream: str = "main", *, most_values: int = MOST_VALUES
) -> Extent:
    """What of a stream fits into `most_values` readings.

    Raises:
        RecordError: the record cannot be read.
    """
    held = {
        name: blocks
        for name in reader.quantities(stream)
        if len((blocks := reader.extent(name, stream)).first)
    }
    first = min((int(one.first.min()) for one in held.values()), default=0)
    stop = max((int(one.last.max()) + 1 for one in held.values()), default=0)
    room = most_values - sum(int(one.values.sum()) for one in held.values())
    if room >= 0:
        return Extent(stop)
    wide = {
        name: one
        for name, one in held.items()
        if one.values.sum() > NARROW_SHARE * most_values
    }
    room += sum(int(one.values.sum()) for one in wide.values())
    if room < most_values / 2:  # many narrow ones
        wide, room = held, most_values
    reach = stop - first
    spans = _spans(first, stop, reach)
    while reach > 2 and _size(wide, spans) > room:
        reach = reach * 9 // 10
        spans = _spans(first, stop, reach)
    return Extent(stop, spans, frozenset(wide))


def read(reader: RecordReader, stream: str, seen: Extent) -> dict[str, Series]:
    """The series of a stream as far as they are looked at, by quantity.

    Raises:
        RecordError: the record cannot be read.
    """
    return {
        name: _excerpt(reader, name, stream, seen.spans)
        if name in seen.cut
        else reader.series(name, stream)
        for name in reader.quantities(stream)
    }


def left_out(reader: RecordReader, *, most_values: int = MOST_VALUES) -> str:
    """A plain sentence on what a diagnosis does not look at; "" if at everything.

    Raises:
        RecordError: the record cannot be read.
    """
    streams = reader.streams()
    seen = [extent(reader, one, most_values=most_values) for one in streams]
    return " ".join(
        _sentence(one, stream if len(streams) > 1 else "")
        for stream, one in zip(streams, seen, strict=True)
        if one.spans
    )


def _sentence(seen: Extent, stream: str) -> str:
    """What was looked at of a stream that does not fit.

    >>> _sentence(Extent(900, (range(0, 100), range(700, 900)), frozenset({"lr"})), "")
    'The record is long: of lr steps 0 to 99 and 700 to 899 of 900 were looked at.'
    """
    where = " and ".join(f"{one.start} to {one.stop - 1}" for one in seen.spans)
    of = f" of stream {stream}" if stream else ""
    return (
        f"The record is long: of {', '.join(sorted(seen.cut))}{of} steps {where} of "
        f"{seen.steps} were looked at."
    )


def _spans(first: int, stop: int, reach: int) -> tuple[range, ...]:
    """The first and the last of the steps, `reach` in all."""
    late = round(reach * LAST_SHARE)
    return range(first, first + reach - late), range(stop - late, stop)


def _size(held: Mapping[str, Blocks], spans: tuple[range, ...]) -> int:
    """How many readings the blocks hold that touch the spans."""
    size = 0
    for one in held.values():
        touched = np.zeros(len(one.first), np.bool_)
        for span in spans:
            touched |= (one.last >= span.start) & (one.first < span.stop)
        size += int(one.values[touched].sum())
    return size


def _excerpt(
    reader: RecordReader, name: str, stream: str, spans: tuple[range, ...]
) -> Series:
    parts = [
        reader.series(name, stream, start=span.start, stop=span.stop) for span in spans
    ]
    blocks = [(one.layers, one.steps, one.values) for one in parts]
    return merged_blocks(name, stream, blocks)
