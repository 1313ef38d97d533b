"""A record's path comes in, its rows go out: checked, and whole as far as they are.

What was read once and cannot change is kept. As soon as something in the file turns
out to be broken, all that follows is read from the rows that are whole.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from surefoot.record import pyramid, rows, source
from surefoot.record.schema import RecordError
from surefoot.types import Event, Field, Floats, Steps

_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_BATCH_ROWS = 64

FIRST, LAST = -(2**63), 2**63 - 1
"""Steps before and after all others, for a range without a beginning or an end."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One stream, quantity and set of layers; its blocks have this number."""

    number: int
    stream: str
    quantity: str
    layers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FieldEntry:
    """Where a field was recorded; `layers` is empty where it has no such axis.

    `title` tells several of one kind and step apart; "" where none was given.
    """

    number: int
    kind: str
    stream: str
    step: int
    layers: tuple[str, ...]
    title: str


@dataclass(slots=True)
class _Seen:
    """What was read and checked: rows are only ever added, those of `meta` replaced."""

    meta: dict[int, rows.Row] = field(default_factory=dict[int, rows.Row])
    version: int | None = None
    """SQLite's `data_version` when `meta` was read: it changes with every commit."""
    channels: list[Channel] = field(default_factory=list[Channel])
    events: list[Event] = field(default_factory=list[Event])
    fields: list[FieldEntry] = field(default_factory=list[FieldEntry])
    seal: dict[str, Any] | None = None


def _title(about: str) -> str:
    """What a field calls itself; "" where it does not."""
    told = json.loads(about)
    return str(told.get("title", "")) if isinstance(told, dict) else ""


class Tables:
    """The rows of one record; `damage` says what is wrong with the file, if anything.

    Raises:
        RecordError: there is no record at `path`, it is of a newer format, or
            nothing in it can be read.
    """

    def __init__(self, path: Path, salvage_most_bytes: int | None = None) -> None:
        self.path = path
        self._most = salvage_most_bytes
        self._source = source.opened(path, self._most)
        self._seen = _Seen()

    def close(self) -> None:
        """Let go of the file."""
        self._source.connection.close()

    @property
    def damage(self) -> str | None:
        """What is wrong with the file, in plain words; None where nothing is."""
        return self._source.damage

    # --- rows that hold text ------------------------------------------------------

    def metas(self) -> dict[str, str]:
        """JSON by key, what the writer keeps for itself left out."""
        version = self._fetched("PRAGMA data_version")[0][0]
        if version != self._seen.version:
            asked = "SELECT * FROM meta ORDER BY id"
            found = self._fetched(asked)
            old = self._seen.meta
            fresh = [row for row in found if old.get(row[0]) != row]
            if self.damage is None:
                if not all(rows.whole("meta", row) for row in fresh):
                    found = self.rescued("a row of meta fails its checksum", asked)
                elif len(found) != (found[-1][0] if found else 0):
                    found = self.rescued("rows of meta are missing", asked)
            self._seen.meta = {row[0]: row for row in found}
            self._seen.version = version
        return {
            key: text
            for _, key, text, _ in self._seen.meta.values()
            if not key.startswith(rows.CHANNEL_KEY) and key != rows.SEAL_KEY
        }

    def channels(self) -> Sequence[Channel]:
        """All channels in the order in which they began."""
        for row in self._added("channel", len(self._seen.channels)):
            number, stream, quantity, layers, _ = row
            names = tuple(json.loads(layers))
            self._seen.channels.append(Channel(number, stream, quantity, names))
        return self._seen.channels

    def events(self) -> Sequence[Event]:
        """All events in the order in which they were written."""
        added = self._added("event", len(self._seen.events))
        self._seen.events.extend(map(rows.event_in, added))
        return self._seen.events

    def _added(self, table: str, known: int) -> list[rows.Row]:
        """Whole rows of `channel` or `event` beyond the `known` ones.

        All of them where the file turns out to be damaged: what was known is
        forgotten then.
        """
        if self.damage is not None and known:
            return []
        intact = self.damage is None
        everything = f"SELECT * FROM {table} ORDER BY id"
        # Before the rows: a live record may be closed while we read.
        sealed = self._seal().get(table)
        found = self._fetched(f"SELECT * FROM {table} WHERE id > {known} ORDER BY id")
        if self.damage is not None:
            return self._fetched(everything) if intact else found
        if not all(rows.whole(table, row) for row in found):
            return self.rescued(f"a row of {table} fails its checksum", everything)
        if known + len(found) != (sealed or (found[-1][0] if found else known)):
            return self.rescued(f"rows of {table} are missing", everything)
        return found

    def _seal(self) -> dict[str, Any]:
        """How many rows a closed record has; empty before it was closed."""
        if self._seen.seal is None:
            found = self._fetched(
                "SELECT * FROM meta WHERE key = ? ORDER BY id DESC LIMIT 1",
                (rows.SEAL_KEY,),
            )
            if not found or not rows.whole("meta", found[0]):
                return {}
            self._seen.seal = json.loads(found[0][2])
        return self._seen.seal or {}

    # --- blocks -------------------------------------------------------------------

    def readings(
        self, channel: Channel, start: int | None, stop: int | None
    ) -> Iterator[tuple[Steps, Floats]]:
        """Steps `[n]` and values `[n, L]` of the blocks that touch the range."""
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
        channel: Channel,
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
                FIRST if start is None else start,
                LAST if stop is None else stop,
                _BATCH_ROWS,
            ),
        )
        found = self._fetched(*asked)
        if self.damage is None:
            everything = start is None and stop is None
            end = None if sealed is None else rows.chunk_number(channel.number, sealed)
            if everything and _gap(after, found, end):
                found = self.rescued("blocks are missing", *asked)
            elif not all(map(rows.chunk_whole, found)):
                found = self.rescued("a block fails its checksum", *asked)
        return found

    def last_block(self, channel: Channel) -> list[rows.Row]:
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
                found = self.rescued("blocks at the end are missing", *asked)
            elif not all(map(rows.chunk_whole, found)):
                found = self.rescued("a block fails its checksum", *asked)
        return found

    def extent(self, channel: Channel) -> list[rows.Row]:
        """First step, last step and count of each block, not checked."""
        ends = tuple(rows.chunk_number(channel.number + k, 0) for k in (0, 1))
        return self._fetched(
            "SELECT first, last, count FROM chunk WHERE id >= ? AND id < ?", ends
        )

    def blocks_from(
        self, channel: Channel, block: int, until: int | None
    ) -> list[rows.Row] | None:
        """Blocks `block` to `until` (both in; None: to the last).

        None if they are not all there and whole; `damage` then says so.
        """
        end = channel.number + 1, 0
        if until is not None:
            end = channel.number, until + 1
        first = rows.chunk_number(channel.number, block)
        found = self._fetched(
            "SELECT * FROM chunk WHERE id >= ? AND id < ? ORDER BY id",
            (first, rows.chunk_number(*end)),
        )
        few = until is not None and len(found) <= until - block
        if self.damage is not None:
            return None
        if few or not found or found[-1][0] != first + len(found) - 1:
            self.rescued("blocks are missing")
        elif not all(map(rows.chunk_whole, found)):
            self.rescued("a block fails its checksum")
        return None if self.damage else found

    def _sealed_blocks(self, channel: Channel) -> int | None:
        """How many blocks a closed record has of a channel."""
        return self._seal().get("chunk", {}).get(str(channel.number))

    # --- fields -------------------------------------------------------------------

    def fields(self) -> Sequence[FieldEntry]:
        """All fields in the order in which they were written, without their numbers."""
        if not self._source.later:
            return ()
        seen = self._seen.fields
        known = seen[-1].number if seen else 0
        sealed = self._seal().get("field")
        found = self._fetched(
            "SELECT id, kind, stream, step, axes, about FROM field WHERE id > ? "
            "ORDER BY id",
            (known,),
        )
        # After the seal was read, a field may have been added.
        last = max(sealed or 0, found[-1][0] if found else known)
        if self.damage is None and known + len(found) != last:
            self.rescued("fields are missing")
        if self._seen.fields is not seen:  # newly damaged: forgotten what was known
            return self.fields()
        layers = {seen[-1].layers: seen[-1].layers} if seen else {}
        for number, kind, stream, step, axes, about in found:
            ticks: Any = dict(json.loads(axes)).get("layer", ())
            names = layers.setdefault(tuple(ticks), tuple(ticks))
            seen.append(FieldEntry(number, kind, stream, step, names, _title(about)))
        return seen

    def field(self, number: int) -> Field | None:
        """The field of that number; None if it is not whole."""
        asked = "SELECT * FROM field WHERE id = ?", (number,)
        found = self._fetched(*asked)
        if self.damage is None and not all(map(rows.field_whole, found)):
            found = self.rescued("a field fails its checksum", *asked)
        return rows.field_in(found[0]) if found else None

    # --- rollups ------------------------------------------------------------------

    def rollup_rows(self, channel: Channel) -> int:
        """How many rows of level 0 a channel has; 0 for old and damaged records."""
        if not self._source.later or self.damage is not None:
            return 0
        low, high = (pyramid.rollup_number(channel.number, k, 0) for k in (0, 1))
        (last,) = self._fetched(
            "SELECT max(id) FROM rollup WHERE id >= ? AND id < ?", (low, high)
        )[0]
        return 0 if last is None else last - low + 1

    def rollups_touching(
        self, channel: Channel, level: int, *, places: range, steps: range
    ) -> tuple[int, int, int, int] | None:
        """From and to (out) which place rows touch `steps`, their first and last step.

        None where none of `places` does.
        """
        at = pyramid.rollup_number(channel.number, level, 0)
        found = self._fetched(
            "SELECT min(id), max(id), min(first), max(last) FROM rollup "
            "WHERE id >= ? AND id < ? AND last >= ? AND first < ?",
            (at + places.start, at + places.stop, steps.start, steps.stop),
        )
        if not found or found[0][0] is None:
            return None
        low, high, first, last = found[0]
        return low - at, high - at + 1, first, last

    def rollups(
        self, channel: Channel, level: int, places: range
    ) -> list[rows.Row] | None:
        """The rows of these places; None if they are not all there and whole."""
        at = pyramid.rollup_number(channel.number, level, 0)
        found = self._fetched(
            "SELECT * FROM rollup WHERE id >= ? AND id < ? ORDER BY id",
            (at + places.start, at + places.stop),
        )
        if self.damage is None and len(found) != len(places):
            self.rescued("rollups are missing")
        elif self.damage is None and not all(map(pyramid.rollup_whole, found)):
            self.rescued("a rollup fails its checksum")
        return None if self.damage else found

    def block_of(self, channel: Channel, place: int) -> tuple[int, int] | None:
        """Block of the last reading of a row of level 0, and its number in there."""
        number = pyramid.rollup_number(channel.number, 0, place)
        found = self._fetched("SELECT block, taken FROM rollup WHERE id = ?", (number,))
        if not found and self.damage is None:
            self.rescued("rollups are missing")
        return None if self.damage else found[0]

    # --- the file -----------------------------------------------------------------

    def _fetched(self, query: str, values: tuple[Any, ...] = ()) -> list[rows.Row]:
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
            return self.rescued(str(error), query, values)

    def rescued(
        self, problem: str, query: str = "SELECT 1", values: tuple[Any, ...] = ()
    ) -> list[rows.Row]:
        """Go over to what is whole in the damaged file, and ask there."""
        broken, self._source = (
            self._source,
            source.rescued(self.path, problem, self._most),
        )
        broken.connection.close()
        self._seen = _Seen()
        return self._fetched(query, values)


def _gap(after: int, found: list[rows.Row], end: int | None) -> bool:
    """Whether rows are missing among those found, or between the last and `end`."""
    last = after + len(found)
    if found and found[-1][0] != last:
        return True
    return end is not None and len(found) < _BATCH_ROWS and last != end - 1
