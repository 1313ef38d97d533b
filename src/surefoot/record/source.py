"""A path comes in, an open and checked connection to its rows goes out, read-only.

Nothing here changes the record or what lies beside it. A record whose journal
cannot be replayed where it lies is read from a copy in memory or a temporary
folder; a damaged one from the rows that `salvage` finds whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import tempfile
from dataclasses import dataclass
from pathlib import Path

from surefoot.record import schema
from surefoot.record.salvage import salvaged
from surefoot.record.schema import FORMAT_VERSION, SUFFIX, RecordError

MAGIC = b"SQLite format 3\0"
"""The first 16 bytes of a SQLite file (sqlite.org/fileformat.html#magic)."""

CACHE_KIB = 8_192
"""Of pages that a reader holds: those of an overview of 200 layers, 3 MB of them, are
read from the system in twice the time that they take from there."""

FAULTS = (sqlite3.Error, OSError, UnicodeError)
"""What reading a damaged file raises; Unicode where SQLite quotes garbage."""

FORMATS_EVER = 256
"""A format version from here on is taken for a broken header, not a newer program."""

TABLES = ("meta", "channel", "event", "chunk")
LATER_TABLES = ("field", "rollup")
"""Those that records of format 1 do not have."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows come from; `damage` says what is wrong with the file, if anything."""

    connection: sqlite3.Connection
    damage: str | None = None
    later: bool = True
    """Whether there are the tables that came with format 2."""


def opened(path: Path, most_bytes: int | None = None) -> Source:
    """Open the record at `path`, whatever state it is in.

    A damaged one of more than `most_bytes` is refused.

    Raises:
        RecordError: there is no record, or nothing in it can be read.
    """
    problem = _header_problem(path)
    if problem is None:
        for way in (_live, _aside, _frozen):
            with contextlib.suppress(*FAULTS):
                return _checked(way(path))
        problem = "its tables cannot be read"
    return rescued(path, problem, most_bytes)


def rescued(path: Path, problem: str, most_bytes: int | None = None) -> Source:
    """What is still whole in the damaged record at `path`, in memory.

    Raises:
        RecordError: nothing is, or the file holds more than `most_bytes`.
    """
    try:
        size = path.stat().st_size
        if most_bytes is not None and size > most_bytes:
            raise RecordError(
                f"{path} is damaged ({problem}); its {size / 1e6:.0f} MB are too many "
                "to restore here; expected a whole record; see what is left of it "
                "with: surefoot diagnose"
            )
        connection, found = salvaged(path)
    except OSError as error:
        raise RecordError(f"{path} cannot be read ({error})") from error
    if not found:
        raise RecordError(
            f"{path} is damaged ({problem}) and nothing in it can be read; expected "
            "a Surefoot record; restore it from a copy, or record the run again"
        )
    return Source(
        connection, f"{path} is damaged ({problem}); {found} rows in it are whole"
    )


# --- what is at the path ----------------------------------------------------------


def _header_problem(path: Path) -> str | None:
    """What is wrong with the first 100 bytes of a damaged record; None: nothing.

    Raises:
        RecordError: it is no record at all, or one of a newer format.
    """
    head = _head(path)
    expected = "expected a file that a run of surefoot wrote (*.surefoot)"
    if not head:
        raise RecordError(
            f"{path} is empty; {expected}; the run was ended before it wrote "
            "anything, or the disk was full"
        )
    ours = head[68:72] == schema.APPLICATION_ID.to_bytes(4, "big")
    if not head.startswith(MAGIC) and path.suffix != SUFFIX:
        raise RecordError(f"{path} is not a record; {expected}")
    if not ours and path.suffix != SUFFIX:
        raise RecordError(f"{path} is a SQLite file of another program; {expected}")
    if ours and head.startswith(MAGIC) and len(head) == 100:
        version = int.from_bytes(head[60:64], "big")
        if FORMAT_VERSION < version < FORMATS_EVER:
            raise _too_new(path, version)
        return None
    return "its header is not that of a record"


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(100)
    except FileNotFoundError as error:
        raise RecordError(
            f"there is no record at {path}; expected the path of a *.surefoot file; "
            "`surefoot runs` lists the ones there are"
        ) from error
    except IsADirectoryError as error:
        raise RecordError(
            f"{path} is a folder; expected one *.surefoot file; "
            "`surefoot runs` lists the ones in a folder"
        ) from error
    except OSError as error:
        raise RecordError(
            f"{path} cannot be read ({error.strerror}); expected a readable file; "
            "check its permissions"
        ) from error


def _too_new(path: Path, version: int) -> RecordError:
    needed = "a newer version"
    query = "SELECT json FROM meta WHERE key = 'surefoot'"
    with (
        contextlib.suppress(*FAULTS, TypeError, ValueError),
        contextlib.closing(_live(path)) as connection,
    ):
        told = json.loads(connection.execute(query).fetchone()[0])
        needed = (
            needed if told == schema.UNKNOWN_VERSION else f"version {told} or newer"
        )
    return RecordError(
        f"{path} is in record format {version}; this surefoot reads formats up to "
        f"{FORMAT_VERSION}; install {needed}: pip install -U surefoot"
    )


# --- ways to open it --------------------------------------------------------------


def _live(path: Path) -> sqlite3.Connection:
    """Where it lies, beside a process that may be writing it."""
    return _connected(path, "mode=ro")


def _frozen(path: Path) -> sqlite3.Connection:
    """Where it lies, without journal or locks: a record in a read-only folder."""
    return _connected(path, "mode=ro&immutable=1")


def _aside(path: Path) -> sqlite3.Connection:
    """A copy in memory, journal replayed: one that may not be written beside."""
    journals = [Path(f"{path}{end}") for end in ("-wal", "-journal")]
    journals = [one for one in journals if one.is_file() and one.stat().st_size]
    if not journals:
        raise FileNotFoundError(f"{path} has no journal")
    with tempfile.TemporaryDirectory(prefix="surefoot-") as folder:
        copy = Path(folder) / path.name
        for one in (path, *journals):
            shutil.copyfile(one, copy.with_name(one.name))
        memory = sqlite3.connect(
            ":memory:", check_same_thread=False, isolation_level=None
        )
        with contextlib.closing(_connected(copy, "mode=rw")) as connection:
            connection.backup(memory)
    return memory


def _connected(path: Path, options: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{Path(os.path.abspath(path)).as_uri()}?{options}",
        uri=True,
        timeout=schema.BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )


def _checked(connection: sqlite3.Connection) -> Source:
    """The connection, if all tables can be looked at; closed otherwise."""
    try:
        connection.execute(f"PRAGMA cache_size={-CACHE_KIB}")
        later = connection.execute("PRAGMA user_version").fetchone()[0] > 1
        for table in TABLES + LATER_TABLES * later:
            connection.execute(f"SELECT * FROM {table} LIMIT 1").fetchone()
    except FAULTS:
        connection.close()
        raise
    return Source(connection, later=later)
