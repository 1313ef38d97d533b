"""What a record looks like on disk: names, tables, journal; no readings pass here.

In: a folder, a name, a path. Out: paths, open connections and `RecordError`s that
say what came, what was expected and what to do.

One run is one SQLite file per writing process. Rows are only ever added, each
with its own CRC-32, so that a damaged file gives back every row that is whole and
not one that is wrong. `chunk.id` is `channel * 2**32 + sequence`: readings of one
channel lie together without an index, and a missing block shows as a gap.
"""

from __future__ import annotations

import re
import secrets
import sqlite3
from datetime import datetime
from pathlib import Path

FORMAT_VERSION = 2
"""Of the tables below; kept in the file's `user_version`. Format 1 has no `rollup`
and no `field`."""

APPLICATION_ID = 0x53464F54
"""ASCII "SFOT"; marks a SQLite file as a Surefoot record (`application_id`)."""

UNKNOWN_VERSION = "unknown"
"""What a record tells of the surefoot that wrote it, if that was not installed."""

PAGE_BYTES = 4096
"""Of every record, so that one can be read whose header is broken."""

SUFFIX = ".surefoot"
SEQUENCE_BITS = 32

DDL = """
CREATE TABLE meta(
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, json TEXT NOT NULL,
    crc INTEGER NOT NULL);
CREATE TABLE channel(
    id INTEGER PRIMARY KEY, stream TEXT NOT NULL, quantity TEXT NOT NULL,
    layers TEXT NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE event(
    id INTEGER PRIMARY KEY, step INTEGER NOT NULL, stream TEXT NOT NULL,
    kind TEXT NOT NULL, body TEXT NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE chunk(
    id INTEGER PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL,
    count INTEGER NOT NULL, steps BLOB, "values" BLOB NOT NULL,
    crc INTEGER NOT NULL);
CREATE TABLE field(
    id INTEGER PRIMARY KEY, step INTEGER NOT NULL, stream TEXT NOT NULL,
    kind TEXT NOT NULL, axes TEXT NOT NULL, about TEXT NOT NULL,
    "values" BLOB NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE rollup(
    id INTEGER PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL,
    block INTEGER NOT NULL, taken INTEGER NOT NULL, steps NOT NULL,
    low BLOB NOT NULL, high BLOB NOT NULL, broken BLOB NOT NULL,
    crc INTEGER NOT NULL);
"""
"""No two tables have the same number of columns: `salvage` tells them apart by it."""

NETWORK_FILE_SYSTEMS = (
    "nfs", "cifs", "smb", "lustre", "gpfs", "beegfs", "ceph", "afs", "9p",
    "glusterfs", "panfs", "wekafs", "orangefs", "pvfs", "virtiofs", "fuse",
)  # fmt: skip
"""Beginnings of file system types without the shared memory that WAL needs
(sqlite.org/wal.html: "WAL does not work over a network filesystem")."""

BUSY_SECONDS = 5.0
"""How long a connection waits for another's lock: SQLite's and Python's default."""


class RecordError(Exception):
    """A record cannot be made, found or read; the message says what to do."""


# --- names ----------------------------------------------------------------------


def run_path(folder: str | Path, name: str, now: datetime) -> Path:
    """A new path `<name>-<date>-<time>-<4 hex>.surefoot` in `folder`.

    `name` is cut to letters, digits, `.`, `_` and `-`, so that it cannot leave the
    folder. The four digits come from the operating system's randomness, never from
    a seeded generator.

    >>> run_path("runs", "my net/1", datetime(2026, 1, 2, 3, 4, 5)).name[:-14]
    'my_net_1-20260102-030405'
    """
    stem = re.sub(r"[^\w.\-]+", "_", name).strip("._")[:100] or "run"
    while True:
        digits = secrets.token_hex(2)
        path = Path(folder) / f"{stem}-{now:%Y%m%d-%H%M%S}-{digits}{SUFFIX}"
        if not path.exists():
            return path


def rank_path(path: str | Path, rank: int) -> Path:
    """Where rank `rank` of a distributed run writes: beside rank 0's own record.

    >>> rank_path("runs/net.surefoot", 2).name
    'net.rank2.surefoot'
    """
    path = Path(path)
    if rank == 0:
        return path
    return path.with_name(f"{path.name.removesuffix(SUFFIX)}.rank{rank}{SUFFIX}")


# --- journal --------------------------------------------------------------------


def journal_mode(folder: Path, mounts: str | None = None) -> str:
    """`"truncate"` where `folder` lies on a network file system, else `"wal"`.

    `mounts` is the text of `/proc/mounts`; read when None. Where it cannot be read
    (macOS, Windows) the folder is taken for local.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return "wal"
    kind = _file_system(folder.resolve(), mounts)
    return "truncate" if kind.startswith(NETWORK_FILE_SYSTEMS) else "wal"


def _file_system(folder: Path, mounts: str) -> str:
    """Type of the file system of the longest mount point above `folder`."""
    best, kind = -1, ""
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        point = Path(fields[1].replace(r"\040", " "))
        if folder.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), fields[2]
    return kind


# --- connections ----------------------------------------------------------------


def created(path: Path) -> sqlite3.Connection:
    """A new, empty record at `path`, open for writing.

    The tables are made before WAL is switched on, so that the file itself, not
    only its journal, is a record from its first moment.

    Raises:
        sqlite3.Error, OSError: the file exists, or cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.open("xb").close()
    connection = _connected(path)
    try:
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        connection.executescript(
            f"BEGIN; PRAGMA application_id={APPLICATION_ID};"
            f"PRAGMA user_version={FORMAT_VERSION};{DDL}COMMIT;"
        )
        _set_journal(connection, path)
    except sqlite3.Error:
        connection.close()
        path.unlink(missing_ok=True)
        raise
    return connection


def reopened(path: Path) -> sqlite3.Connection:
    """The record that `created` made at `path`, open for writing again."""
    connection = _connected(path)
    try:
        _set_journal(connection, path)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _connected(path: Path) -> sqlite3.Connection:
    # Made on one thread, used on the writer's; never by two at a time.
    return sqlite3.connect(
        f"{path.resolve().as_uri()}?mode=rw",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )


def _set_journal(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute(f"PRAGMA journal_mode={journal_mode(path.parent)}")
    # NORMAL: a killed process loses nothing that was committed; a power cut may
    # lose the last commits, but not the file (sqlite.org/pragma.html#synchronous).
    connection.execute("PRAGMA synchronous=NORMAL")
