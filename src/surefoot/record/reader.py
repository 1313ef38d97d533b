"""A record's path comes in, series, events, facts and status go out.

Reads beside a process that is still writing, after a kill, and out of a damaged
file whatever is whole; the record itself is never changed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, cast

import numpy as np

from surefoot.record import liveness, quantities, rows, source
from surefoot.record.facts import facts_in
from surefoot.record.rollup import Overview, rollup
from surefoot.record.schema import RecordError
from surefoot.types import Event, Facts, Field, Floats, Series, Steps

Status = Literal["running", "finished", "failed", "interrupted", "killed"]

_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_BATCH_ROWS = 64


class UnknownQuantityError(RecordError, KeyError):
    """The record holds no such quantity; the message lists those it holds."""

    __str__ = Exception.__str__


@dataclass(frozen=True, slots=True)
class _Channel:
    number: int
    stream: str
    quantity: str
    layers: tuple[str, ...]


class RecordReader:
    """One record, read-only; a context manager.

    What is read is what was committed at that moment, so that two calls on a live
    record may differ. `damage` is None, or says what is wrong with the file; it may
    come up as late as when the broken part is read.

    Raises:
        RecordError: there is no record at `path`, it is of a newer format, or
            nothing in it can be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._source = source.opened(self.path)

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
        self._source.connection.close()

    @property
    def damage(self) -> str | None:
        """What is wrong with the file, in plain words; None where nothing is."""
        return self._source.damage

    # --- what the run is ----------------------------------------------------------

    @property
    def meta(self) -> dict[str, Any]:
        """What the writer was given as `meta` and by `put_meta`: JSON values."""
        found = self._texts("meta")
        return {
            key: json.loads(text)
            for _, key, text, _ in found
            if not key.startswith(rows.CHANNEL_KEY) and key != rows.SEAL_KEY
        }

    def facts(self) -> dict[str, Facts]:
        """What is constant over each stream, by its name; what is missing is empty."""
        described: Any = self.meta.get("streams")
        if not isinstance(described, Mapping):
            return {}
        known = cast(Mapping[str, Any], described)
        return {name: facts_in(name, body) for name, body in known.items()}

    def events(self, kind: str | None = None, stream: str | None = None) -> list[Event]:
        """Events in the order in which they were written, all or those asked for."""
        found = (rows.event_in(row) for row in self._texts("event"))
        return [
            event
            for event in found
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
        return "running" if liveness.lives(self.meta.get("writer", {})) else "killed"

    # --- what it recorded ---------------------------------------------------------

    def streams(self) -> tuple[str, ...]:
        """Names of the streams, in the order in which they began."""
        names = [one.stream for one in self._channels()]
        return tuple(dict.fromkeys([*self.facts(), *names]))

    def quantities(self, stream: str = "main") -> tuple[str, ...]:
        """Names of the quantities recorded in a stream, in order of appearance."""
        found = (one.quantity for one in self._channels() if one.stream == stream)
        return tuple(dict.fromkeys(found))

    def has(self, quantity: str, stream: str = "main") -> bool:
        """Whether there is any reading of that quantity."""
        return quantity in self.quantities(stream)

    def last_step(
        self, stream: str = "main", quantity: str | None = None
    ) -> int | None:
        """The last step with a reading, of all quantities or one; None if none."""
        last = [
            self._last_block(one)
            for one in self._channels()
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
        """A quantity on at most `points` bins, or on bins of exactly `width` steps.

        Raises:
            UnknownQuantityError: nothing of that name was recorded in this stream.
        """
        found = self.series(quantity, stream, start=start, stop=stop)
        kept = [
            at for at, one in enumerate(found.layers) if not layers or one in layers
        ]
        rolled = rollup(found.values[:, kept], found.steps, points, width=width)
        names = tuple(found.layers[at] for at in kept)
        return Overview(quantity, stream, names, rolled)

    def field_index(self) -> list[tuple[str, str, int, tuple[str, ...]]]:
        """Kind, stream, step and layers of the fields that were recorded."""
        return []

    def field(
        self, kind: str, stream: str = "main", *, step: int | None = None
    ) -> Field | None:
        """The last field of a kind at or before `step`; None if there is none."""
        del kind, stream, step
        return None

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
            for steps, values in self._readings(channel, start, stop):
                yield Series(quantity, channel.layers, steps, values, stream)

    # --- rows ---------------------------------------------------------------------

    def _named(self, quantity: str, stream: str) -> list[_Channel]:
        channels = self._channels()
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

    def _channels(self) -> list[_Channel]:
        return [
            _Channel(number, stream, quantity, tuple(json.loads(layers)))
            for number, stream, quantity, layers, _ in self._texts("channel")
        ]

    def _readings(
        self, channel: _Channel, start: int | None, stop: int | None
    ) -> Iterator[tuple[Steps, Floats]]:
        # Before the first block: a live record may be closed while we read.
        sealed = self._sealed_blocks(channel)
        after = rows.chunk_number(channel.number, 0) - 1
        while found := self._batch(
            channel, after, start=start, stop=stop, sealed=sealed
        ):
            after = found[-1][0]
            for row in found:
                readings = rows.readings_in(row, len(channel.layers))
                if readings is not None:
                    yield readings

    def _batch(
        self,
        channel: _Channel,
        after: int,
        *,
        start: int | None,
        stop: int | None,
        sealed: int | None,
    ) -> list[rows.Row]:
        """The next rows of a channel that are whole and touch the range."""
        asked = (
            "SELECT * FROM chunk WHERE id > ? AND id < ? "
            "AND last >= ? AND first < ? ORDER BY id LIMIT ?",
            (
                after,
                rows.chunk_number(channel.number + 1, 0),
                -(2**63) if start is None else start,
                2**63 - 1 if stop is None else stop,
                _BATCH_ROWS,
            ),
        )
        found = self._fetched(*asked)
        if self.damage is None:
            everything = start is None and stop is None
            end = None if sealed is None else rows.chunk_number(channel.number, sealed)
            if everything and _gap(after, found, end):
                found = self._rescued("blocks are missing", *asked)
            elif not all(map(rows.chunk_whole, found)):
                found = self._rescued("a block fails its checksum", *asked)
        return found

    def _last_block(self, channel: _Channel) -> list[rows.Row]:
        """The last whole row of a channel; none if it has none."""
        asked = (
            "SELECT * FROM chunk WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT 1",
            tuple(rows.chunk_number(channel.number + k, 0) for k in (0, 1)),
        )
        sealed = self._sealed_blocks(channel)
        found = self._fetched(*asked)
        if self.damage is None:
            end = None if sealed is None else rows.chunk_number(channel.number, sealed)
            if end is not None and [row[0] for row in found] != [end - 1]:
                found = self._rescued("blocks at the end are missing", *asked)
            elif not all(map(rows.chunk_whole, found)):
                found = self._rescued("a block fails its checksum", *asked)
        return found

    def _texts(self, table: str) -> list[rows.Row]:
        """All whole rows of `meta`, `channel` or `event`, in written order."""
        asked = f"SELECT * FROM {table} ORDER BY id"
        sealed = None if table == "meta" else self._seal().get(table)
        found = self._fetched(asked)
        if self.damage is None:
            if not all(rows.whole(table, row) for row in found):
                found = self._rescued(f"a row of {table} fails its checksum", asked)
            elif len(found) != (sealed or (found[-1][0] if found else 0)):
                found = self._rescued(f"rows of {table} are missing", asked)
        return found

    def _sealed_blocks(self, channel: _Channel) -> int | None:
        """How many blocks a closed record has of a channel."""
        return self._seal().get("chunk", {}).get(str(channel.number))

    def _seal(self) -> dict[str, Any]:
        """How many rows a closed record has; empty before it was closed."""
        for _, key, text, _ in reversed(self._texts("meta")):
            if key == rows.SEAL_KEY:
                return json.loads(text)
        return {}

    def _fetched(self, query: str, values: tuple[int, ...] = ()) -> list[rows.Row]:
        try:
            return self._source.connection.execute(query, values).fetchall()
        except sqlite3.ProgrammingError as error:
            raise RecordError(
                f"{self.path}: this reader was closed; open a new one"
            ) from error
        except (sqlite3.DatabaseError, UnicodeError) as error:
            if getattr(error, "sqlite_errorcode", 0) & 255 in _BUSY:
                raise RecordError(
                    f"{self.path} is locked by another process; try again"
                ) from error
            if self.damage is not None:
                raise RecordError(f"{self.damage}; {error}") from error
            return self._rescued(str(error), query, values)

    def _rescued(
        self, problem: str, query: str, values: tuple[int, ...] = ()
    ) -> list[rows.Row]:
        """Go over to what is whole in the damaged file, and ask there."""
        broken, self._source = self._source, source.rescued(self.path, problem)
        broken.connection.close()
        return self._fetched(query, values)


def _gap(after: int, found: list[rows.Row], end: int | None) -> bool:
    """Whether rows are missing among those found, or between the last and `end`."""
    last = after + len(found)
    if found and found[-1][0] != last:
        return True
    return end is not None and len(found) < _BATCH_ROWS and last != end - 1


def _between(series: Series, start: int | None, stop: int | None) -> Series:
    steps = series.steps
    low = 0 if start is None else int(np.searchsorted(steps, start))
    high = len(steps) if stop is None else int(np.searchsorted(steps, stop))
    part = slice(low, max(low, high))
    return replace(series, steps=steps[part], values=series.values[part])
