"""The writer thread's side of a record: batches of entries in, committed rows out.

The file may vanish, fill its disk or turn read-only at any time. Every such fault
leaves here as `StoreError` with a plain sentence; the batch can then be tried again,
as rows are numbered before they are written and a second try replaces the first.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from surefoot.record import pyramid, rows, schema
from surefoot.types import Floats, Steps


class StoreError(Exception):
    """The record cannot be written now; the message is a plain sentence."""


@dataclass(frozen=True, slots=True)
class Block:
    """Readings on their way to the record: `steps` `[n]`, `values` `[n, L]`."""

    stream: str
    quantity: str
    layers: tuple[str, ...]
    steps: Steps
    values: Floats


@dataclass(frozen=True, slots=True)
class Meta:
    """One value for table `meta`; `text` is JSON."""

    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Happening:
    """An event whose body is JSON already."""

    step: int
    stream: str
    kind: str
    body: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A field on its way to the record."""

    text: rows.FieldText
    values: Floats


Entry = Block | Meta | Happening | Picture


@dataclass(frozen=True, slots=True)
class _Numbers:
    """What has been numbered so far; replaced after each commit, never changed."""

    channels: Mapping[tuple[str, str, tuple[str, ...]], int]
    sequences: Mapping[int, int]
    keys: Mapping[str, int]
    growths: Mapping[int, pyramid.Growth]
    events: int = 0
    fields: int = 0


_NOTHING = _Numbers({}, {}, {}, {})


class Store:
    """One record file, open for writing by one thread at a time.

    `losses` lists, in plain sentences, what went missing with a deleted file.
    """

    def __init__(self, path: Path, meta: Mapping[str, str]) -> None:
        self.path = path
        self.losses: list[str] = []
        self.connection: sqlite3.Connection | None = None
        self._meta = dict(meta)
        self._numbers = _NOTHING
        self._create()

    def commit(self, entries: Sequence[Entry]) -> None:
        """Write all entries in one transaction, or none of them.

        Raises:
            StoreError: it could not be done now.
        """
        done = False
        try:
            connection = self._usable()
            connection.execute("BEGIN IMMEDIATE")
            numbers = _written(connection, entries, self._numbers)
            connection.execute("COMMIT")
            done = True
        except (sqlite3.Error, OSError) as error:
            raise StoreError(told(error, self.path)) from error
        finally:
            if not done:
                self._disconnect()
        self._numbers = numbers
        self._meta.update(
            (entry.key, entry.text) for entry in entries if isinstance(entry, Meta)
        )

    def close(self) -> None:
        """Seal it; leave one plain file, no journal beside it, if nobody reads it."""
        with contextlib.suppress(StoreError):
            self.commit([Meta(rows.SEAL_KEY, self._seal())])
        connection = self.connection
        if connection is None:
            return
        with contextlib.suppress(sqlite3.Error, OSError):
            if self._present():
                connection.execute("PRAGMA busy_timeout=200")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                connection.execute("PRAGMA journal_mode=DELETE")
        self._disconnect()

    def _seal(self) -> str:
        numbers = self._numbers
        sealed: dict[str, int] = {
            "event": numbers.events,
            "channel": len(numbers.channels),
            "field": numbers.fields,
        }
        return rows.encoded({**sealed, "chunk": numbers.sequences})

    # --- the file ---------------------------------------------------------------

    def _usable(self) -> sqlite3.Connection:
        """A connection to the file at our path; makes the file anew if it is gone."""
        if self._gone():
            self._disconnect()
            self._create()
            self.losses.append(
                f"{self.path} was deleted while the run went on; what it held is "
                "lost, the run is recorded from here on in a new file of that name"
            )
        if self.connection is not None and not self._journal_present():
            # Closing writes back what the unlinked journal holds.
            self._disconnect()
        if not self._present():
            raise StoreError(
                f"{self.path} was replaced by another file while the run went on; "
                "it is left alone, and this run's readings are not kept; expected "
                "the file to stay; move it away to have the run recorded again"
            )
        if self.connection is None:
            self.connection = schema.reopened(self.path)
        return self.connection

    def _create(self) -> None:
        connection = schema.created(self.path)
        try:
            connection.execute("BEGIN IMMEDIATE")
            entries = [Meta(key, text) for key, text in self._meta.items()]
            numbers = _written(connection, entries, _NOTHING)
            connection.execute("COMMIT")
        except sqlite3.Error:
            connection.close()
            self.path.unlink(missing_ok=True)
            raise
        self.connection, self._numbers = connection, numbers
        self._identity = _identity(self.path)
        self._journalled = False

    def _gone(self) -> bool:
        return not os.path.lexists(self.path)

    def _present(self) -> bool:
        return _identity(self.path) == self._identity

    def _journal_present(self) -> bool:
        """False when the WAL was deleted under us, whatever the main file does."""
        present = os.path.exists(f"{self.path}-wal")
        lost, self._journalled = self._journalled and not present, present
        return not lost

    def _disconnect(self) -> None:
        connection, self.connection = self.connection, None
        self._journalled = False
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


# --- rows -----------------------------------------------------------------------


def _written(
    connection: sqlite3.Connection, entries: Sequence[Entry], numbers: _Numbers
) -> _Numbers:
    """Insert rows for all entries; returns the numbers that follow."""
    channels, sequences = dict(numbers.channels), dict(numbers.sequences)
    keys, events, fields = dict(numbers.keys), numbers.events, numbers.fields
    growths = dict(numbers.growths)
    for entry in entries:
        if isinstance(entry, Block):
            address = (entry.stream, entry.quantity, entry.layers)
            if address not in channels:
                channels[address] = len(channels) + 1
                _insert_channel(connection, channels[address], address, keys)
            channel = channels[address]
            sequence = sequences.get(channel, 0)
            growth = growths.get(channel, pyramid.Growth())
            growths[channel] = _insert_block(
                connection, entry, growth, channel=channel, sequence=sequence
            )
            sequences[channel] = sequence + 1
        elif isinstance(entry, Meta):
            number = keys.setdefault(entry.key, len(keys) + 1)
            _insert(connection, "meta", rows.meta_row(number, entry.key, entry.text))
        elif isinstance(entry, Picture):
            fields += 1
            row = rows.field_row(fields, entry.text, entry.values)
            _insert(connection, "field", row)
        else:
            events += 1
            row = rows.event_row(
                events, entry.step, entry.stream, entry.kind, entry.body
            )
            _insert(connection, "event", row)
    return _Numbers(channels, sequences, keys, growths, events, fields)


def _insert_block(
    connection: sqlite3.Connection,
    block: Block,
    growth: pyramid.Growth,
    *,
    channel: int,
    sequence: int,
) -> pyramid.Growth:
    """Rows of `chunk`, and of `rollup` where one is complete; what then waits."""
    number = rows.chunk_number(channel, sequence)
    _insert(connection, "chunk", rows.chunk_row(number, block.steps, block.values))
    growth, complete = pyramid.grown(
        growth, sequence, steps=block.steps, values=block.values
    )
    for one in complete:
        _insert(connection, "rollup", pyramid.rollup_row(channel, one))
    return growth


def _insert_channel(
    connection: sqlite3.Connection,
    number: int,
    address: tuple[str, str, tuple[str, ...]],
    keys: dict[str, int],
) -> None:
    """A row of `channel`, and the same once more in `meta`."""
    _insert(connection, "channel", rows.channel_row(number, *address))
    key = f"{rows.CHANNEL_KEY}{number}"
    place = keys.setdefault(key, len(keys) + 1)
    _insert(connection, "meta", rows.meta_row(place, key, rows.encoded(address)))


def _insert(connection: sqlite3.Connection, table: str, row: rows.Row) -> None:
    marks = ",".join("?" * len(row))
    connection.execute(f"INSERT OR REPLACE INTO {table} VALUES({marks})", row)


# --- words ----------------------------------------------------------------------


def told(error: Exception, path: Path) -> str:
    """A fault of the disk in plain words: what came, what to do.

    >>> told(sqlite3.OperationalError("database or disk is full"), Path("a.surefoot"))
    'a.surefoot: the disk is full; free some space and recording goes on'
    """
    text = str(error)
    if "full" in text or "No space" in text or "quota" in text:
        return f"{path}: the disk is full; free some space and recording goes on"
    if "readonly" in text or isinstance(error, PermissionError) or "Read-only" in text:
        return f"{path}: the folder cannot be written any more; make it writable again"
    if "locked" in text:
        return (
            f"{path}: another process holds a lock on it; close whatever writes to it"
        )
    return f"{path}: {text}; check the disk and the folder"


def plain(value: Any) -> str:
    """`value` as JSON, or as a quoted text where JSON cannot hold it."""
    try:
        return rows.encoded(value)
    except (TypeError, ValueError):
        return rows.encoded(repr(value))
