"""A record's path comes in, series, events, facts and status go out.

Reads beside a process that is still writing, after a kill, and out of a damaged
file whatever is whole; the record itself is never changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, cast

import numpy as np

from surefoot.record import liveness, quantities, rows
from surefoot.record.facts import facts_in
from surefoot.record.overview import Query, overview_of
from surefoot.record.rollup import Overview
from surefoot.record.schema import RecordError
from surefoot.record.tables import Channel, Tables
from surefoot.types import Event, Facts, Field, Series, Steps

Status = Literal["running", "finished", "failed", "interrupted", "killed"]


class UnknownQuantityError(RecordError, KeyError):
    """The record holds no such quantity; the message lists those it holds."""

    __str__ = Exception.__str__


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """Of `n` blocks the first and last step and the number of values, each `[n]`."""

    first: Steps
    last: Steps
    values: Steps


class RecordReader:
    """One record, read-only; a context manager.

    What is read is what was committed at that moment, so that two calls on a live
    record may differ. `damage` is None, or says what is wrong with the file; it may
    come up as late as when the broken part is read.

    Args:
        path: The record.
        salvage_most_bytes: A damaged file beyond this is refused: what is whole in
            one is kept in memory. None for any.

    Raises:
        RecordError: there is no record at `path`, it is of a newer format, or
            nothing in it can be read.
    """

    def __init__(
        self, path: str | Path, *, salvage_most_bytes: int | None = None
    ) -> None:
        self.path = Path(path)
        self._tables = Tables(self.path, salvage_most_bytes)
        self._facts: tuple[str, dict[str, Facts]] = "", {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._tables.close()

    @property
    def damage(self) -> str | None:
        """What is wrong with the file, in plain words; None where nothing is."""
        return self._tables.damage

    # --- what the run is ----------------------------------------------------------

    @property
    def meta(self) -> dict[str, Any]:
        """What the writer was given as `meta` and by `put_meta`: JSON values."""
        return {key: json.loads(text) for key, text in self._tables.metas().items()}

    def facts(self) -> dict[str, Facts]:
        """What is constant over each stream, by its name; what is missing is empty."""
        text = self._tables.metas().get("streams", "null")
        if text != self._facts[0]:
            described = json.loads(text)
            known = cast(Mapping[str, Any], described)
            if not isinstance(described, Mapping):
                known = {}
            found = {name: facts_in(name, body) for name, body in known.items()}
            self._facts = text, found
        return dict(self._facts[1])

    def events(self, kind: str | None = None, stream: str | None = None) -> list[Event]:
        """Events in the order in which they were written, all or those asked for."""
        return [
            event
            for event in self._tables.events()
            if kind in (None, event.kind) and stream in (None, event.stream)
        ]

    def status(self) -> Status:
        """How the run ended; `"running"` or `"killed"` if it never said.

        Killed means that the process which wrote is gone, see `record.liveness`.
        """
        ends = self.events(kind="end")
        if ends:
            told = ends[-1].body.get("status")
            return told if told in ("finished", "interrupted") else "failed"
        return (
            "running" if liveness.lives(self._meta_value("writer") or {}) else "killed"
        )

    def _meta_value(self, key: str) -> Any:
        return json.loads(self._tables.metas().get(key, "null"))

    # --- what it recorded ---------------------------------------------------------

    def streams(self) -> tuple[str, ...]:
        """Names of the streams, in the order in which they began."""
        names = [one.stream for one in self._tables.channels()]
        return tuple(dict.fromkeys([*self.facts(), *names]))

    def quantities(self, stream: str = "main") -> tuple[str, ...]:
        """Names of the quantities recorded in a stream, in order of appearance."""
        found = (
            one.quantity for one in self._tables.channels() if one.stream == stream
        )
        return tuple(dict.fromkeys(found))

    def has(self, quantity: str, stream: str = "main") -> bool:
        """Whether there is any reading of that quantity."""
        return quantity in self.quantities(stream)

    def last_step(
        self, stream: str = "main", quantity: str | None = None
    ) -> int | None:
        """The last step with a reading, of all quantities or one; None if none."""
        last = [
            self._tables.last_block(one)
            for one in self._tables.channels()
            if one.stream == stream and quantity in (None, one.quantity)
        ]
        return max((row[2] for found in last for row in found), default=None)

    def series(
        self,
        quantity: str,
        stream: str = "main",
        *,
        start: int | None = None,
        stop: int | None = None,
    ) -> Series:
        """All readings of a quantity with `start <= step < stop`.

        Layers are those of the whole run in order of appearance; NaN where a layer
        had no reading. Of a step recorded twice the later reading stays. Both arrays
        may be empty if the range is.

        Raises:
            UnknownQuantityError: (a `RecordError` and a `KeyError`) nothing of that
                name was recorded in this stream.
        """
        parts = [
            (block.layers, block.steps, block.values)
            for block in self.blocks(quantity, stream, start=start, stop=stop)
        ]
        if not parts:
            return self._empty(quantity, stream)
        merged = rows.merged_blocks(quantity, stream, parts)
        return _between(merged, start, stop)

    def blocks(
        self,
        quantity: str,
        stream: str = "main",
        *,
        start: int | None = None,
        stop: int | None = None,
    ) -> Iterator[Series]:
        """The blocks as they were written, one at a time, in little memory.

        Those that hold any step of `start <= step < stop`, whole.

        Raises:
            UnknownQuantityError: nothing of that name was recorded in this stream.
        """
        channels = self._named(quantity, stream)
        for channel in channels:
            for steps, values in self._tables.readings(channel, start, stop):
                yield Series(quantity, channel.layers, steps, values, stream)

    def extent(self, quantity: str, stream: str = "main") -> Blocks:
        """Where and how many the readings of a quantity are, without reading them.

        Raises:
            UnknownQuantityError: nothing of that name was recorded in this stream.
        """
        found = [
            (first, last, count * len(channel.layers))
            for channel in self._named(quantity, stream)
            for first, last, count in self._tables.extent(channel)
        ]
        return Blocks(*np.array(found, np.int64).reshape(-1, 3).T)

    def overview(
        self,
        quantity: str,
        stream: str = "main",
        *,
        points: int,
        start: int | None = None,
        stop: int | None = None,
        width: int | None = None,
        layers: Sequence[str] | None = None,
    ) -> Overview:
        """Extremes of a quantity on few bins of steps, cheap on long records.

        Every reading with `start <= step < stop` is in a bin. Read from what the
        writer rolled up, so that the outermost bins may hold a few readings from
        beyond the range; a record without rollups is read reading by reading.

        Args:
            quantity: What was recorded.
            stream: Where.
            points: Most bins, at least 2.
            start: First step of the range; it is best the beginning of a bin.
            stop: Step after the range.
            width: A power of two: bins of just that many steps, however many.
            layers: Those to keep, all if None; unknown ones are left out.

        Raises:
            UnknownQuantityError: nothing of that name was recorded in this stream.
            ValueError: fewer than 2 points, or a width that is no power of two.
        """
        asked = Query(points, start, stop, width, None if layers is None else {*layers})
        return overview_of(self._tables, self._named(quantity, stream), asked)

    def field_index(self) -> list[tuple[str, str, int, tuple[str, ...]]]:
        """Kind, stream, step and layers of each field, in written order; cheap."""
        return [
            (one.kind, one.stream, one.step, one.layers)
            for one in self._tables.fields()
        ]

    def field_titles(self, kind: str, stream: str = "main") -> list[tuple[int, str]]:
        """Step and title of each field of a kind, in written order.

        A field without a title has "". Of two with the same step and title the later
        one stays, in the place of the earlier.
        """
        found = [
            (one.step, one.title)
            for one in self._tables.fields()
            if (one.kind, one.stream) == (kind, stream)
        ]
        return list(dict.fromkeys(found))

    def field(
        self,
        kind: str,
        stream: str = "main",
        *,
        step: int | None = None,
        title: str | None = None,
    ) -> Field | None:
        """The last field of a kind at or before `step`; the last of all if None.

        Only those with that title, where one is given. None where there is none.
        """
        found = [
            one
            for one in self._tables.fields()
            if one.kind == kind and one.stream == stream
            if step is None or one.step <= step
            if title is None or one.title == title
        ]
        if not found:
            return None
        # Of a step that was recorded twice the later one stays, as in a series.
        last = max(found, key=lambda one: (one.step, one.number))
        return self._tables.field(last.number)

    def _named(self, quantity: str, stream: str) -> list[Channel]:
        channels = self._tables.channels()
        found = [
            one for one in channels if one.quantity == quantity and one.stream == stream
        ]
        if not found:
            here = sorted({one.quantity for one in channels if one.stream == stream})
            known = quantities.ALL
            raise UnknownQuantityError(
                f"{self.path} has no quantity {quantity!r} in stream {stream!r}; "
                f"recorded there: {', '.join(here) or 'nothing'}; streams: "
                f"{', '.join(sorted({one.stream for one in channels})) or 'none'}; "
                f"surefoot knows: {', '.join(one.name for one in known)}"
            )
        return found

    def _empty(self, quantity: str, stream: str) -> Series:
        names = [name for one in self._named(quantity, stream) for name in one.layers]
        return rows.no_readings(quantity, stream, tuple(dict.fromkeys(names)))


def _between(series: Series, start: int | None, stop: int | None) -> Series:
    steps = series.steps
    low = 0 if start is None else int(np.searchsorted(steps, start))
    high = len(steps) if stop is None else int(np.searchsorted(steps, stop))
    part = slice(low, max(low, high))
    return replace(series, steps=steps[part], values=series.values[part])
