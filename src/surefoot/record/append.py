"""A field and the record of a run that has ended come in; the record holds it then.

For what is computed after training, such as a slice of the loss. A record that is
still being written belongs to its run and is left alone.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Generator
from pathlib import Path

from surefoot.record import rows, schema
from surefoot.record.reader import RecordReader
from surefoot.record.schema import FORMAT_VERSION, RecordError
from surefoot.record.store import plain, told
from surefoot.types import Field, Floats


def add_field(record: str | Path, field: Field) -> None:
    """Add a field to the record of a run that has ended, in one transaction.

    Who reads the record meanwhile sees it as it was or with the field. One of the same
    kind, stream, step and title as an earlier field takes its place for readers.

    Raises:
        RecordError: the run goes on, the record is damaged or of an older format, or it
            cannot be written; the record is then as it was.
    """
    path = Path(record)
    check_ended(path)
    values = field.values.astype("<f4", order="C")
    expected = tuple(map(len, field.axes.values()))
    if values.shape != expected:
        raise RecordError(
            f"a field {field.kind!r} came with values of shape {values.shape}, "
            f"expected {expected}, the lengths of its axes"
        )
    text = rows.FieldText(
        field.step,
        field.stream,
        field.kind,
        plain([(name, list(ticks)) for name, ticks in field.axes.items()]),
        plain(dict(field.about)),
    )
    try:
        with contextlib.closing(schema.reopened(path)) as connection:
            _insert(connection, text, values)
            _left_plain(connection)
    except (sqlite3.Error, OSError) as error:
        raise RecordError(told(error, path)) from error


def check_ended(record: str | Path) -> None:
    """Whether something can be added to a record.

    Raises:
        RecordError: the run goes on, or the record is damaged or of an older format.
    """
    path = Path(record)
    with RecordReader(path) as reader:
        status = reader.status()
        if reader.damage is not None:
            raise RecordError(
                f"{path} is damaged ({reader.damage}); expected a whole record; "
                "nothing is added to it, write to another file with --output"
            )
        if status == "running":
            raise RecordError(
                f"{path} is still being written by its run; expected one that has "
                "ended; wait for it, or write to another file with --output"
            )
    with contextlib.closing(sqlite3.connect(_uri(path), uri=True)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != FORMAT_VERSION:
        raise RecordError(
            f"{path} is a record of format {version}, expected {FORMAT_VERSION}; "
            "nothing is added to it, write to another file with --output"
        )


def _uri(path: Path) -> str:
    return f"{path.resolve().as_uri()}?mode=ro"


def _insert(
    connection: sqlite3.Connection, text: rows.FieldText, values: Floats
) -> None:
    """The field's row, and the seal that counts it, together or not at all."""
    connection.execute("BEGIN IMMEDIATE")
    with _whole(connection):
        (last,) = connection.execute("SELECT max(id) FROM field").fetchone()
        number = (last or 0) + 1
        row = rows.field_row(number, text, values)
        connection.execute(f"INSERT INTO field VALUES({_marks(row)})", row)
        sealed = connection.execute(
            "SELECT id, json FROM meta WHERE key = ? ORDER BY id DESC LIMIT 1",
            (rows.SEAL_KEY,),
        ).fetchone()
        if sealed is not None:  # a run that was killed left none
            counts = {**json.loads(sealed[1]), "field": number}
            seal = rows.meta_row(sealed[0], rows.SEAL_KEY, rows.encoded(counts))
            connection.execute(f"REPLACE INTO meta VALUES({_marks(seal)})", seal)


@contextlib.contextmanager
def _whole(connection: sqlite3.Connection) -> Generator[None]:
    """A transaction that is undone by whatever is raised inside."""
    done = False
    try:
        yield
        connection.execute("COMMIT")
        done = True
    finally:
        if not done and connection.in_transaction:
            connection.execute("ROLLBACK")


def _left_plain(connection: sqlite3.Connection) -> None:
    """One plain file, no journal beside it, if nobody reads it."""
    with contextlib.suppress(sqlite3.Error):
        connection.execute("PRAGMA busy_timeout=200")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode=DELETE")


def _marks(row: rows.Row) -> str:
    return ",".join("?" * len(row))
