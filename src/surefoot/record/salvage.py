"""A damaged record comes in, every row that is still whole goes out.

SQLite gives up at the first broken page on its way to a row. Here the file is read
page by page instead (sqlite.org/fileformat2.html, sections 1.6 and 2.1), whatever
its inner pages say: every cell of every table leaf is tried as a row of ours and
kept if its CRC agrees. The write-ahead log is laid over the file first.
"""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from surefoot.record import rows, schema
from surefoot.record.schema import PAGE_BYTES

TABLE_LEAF = 13
WAL_MAGIC = (0x377F0682, 0x377F0683)
COLUMNS: Mapping[int, str] = {
    4: "meta",
    5: "channel",
    6: "event",
    7: "chunk",
    8: "field",
}
"""Which table a row belongs to, by its number of columns. Rollups are not among
them: the readings that they were made of say more."""

UNNAMED = "unnamed "
"""What readings are called, with a number, of which only the name is lost."""

_INTEGER_BYTES: Mapping[int, int] = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


@dataclass(frozen=True, slots=True)
class _Pages:
    """Pages by number, from 1; those of the write-ahead log go before the file's."""

    data: bytes
    newer: dict[int, bytes]

    def __getitem__(self, number: int) -> bytes:
        if number in self.newer:
            return self.newer[number]
        return self.data[(number - 1) * PAGE_BYTES : number * PAGE_BYTES]

    def __len__(self) -> int:
        return max(-(-len(self.data) // PAGE_BYTES), *self.newer, 0, 0)


def salvaged(path: Path) -> tuple[sqlite3.Connection, int]:
    """Every whole row of the record at `path`, in memory, and how many they are.

    Raises:
        OSError: the file cannot be read.
    """
    connection = sqlite3.connect(
        ":memory:", check_same_thread=False, isolation_level=None
    )
    connection.executescript(schema.DDL)
    found = 0
    connection.execute("BEGIN")
    for table, row in _whole_rows(_pages(path)):
        marks = ",".join("?" * len(row))
        connection.execute(f"INSERT OR REPLACE INTO {table} VALUES({marks})", row)
        found += 1
    _restore_channels(connection)
    connection.execute("COMMIT")
    return connection, found


def _restore_channels(connection: sqlite3.Connection) -> None:
    """Name channels whose own row is broken: by the copy in `meta`, else by number."""
    for key, text in connection.execute(
        "SELECT key, json FROM meta WHERE key LIKE ?", (f"{rows.CHANNEL_KEY}%",)
    ).fetchall():
        number = int(key.removeprefix(rows.CHANNEL_KEY))
        _name_channel(connection, rows.channel_row(number, *json.loads(text)))
    for number, layers in connection.execute(
        'SELECT id >> ?, length("values") / 4 / count FROM chunk GROUP BY 1',
        (schema.SEQUENCE_BITS,),
    ).fetchall():
        names = [f"layer {index}" for index in range(layers)]
        row = rows.channel_row(number, "main", f"{UNNAMED}{number}", names)
        _name_channel(connection, row)


def _name_channel(connection: sqlite3.Connection, row: rows.Row) -> None:
    connection.execute("INSERT OR IGNORE INTO channel VALUES(?,?,?,?,?)", row)


def _whole_rows(pages: _Pages) -> Iterator[tuple[str, rows.Row]]:
    for number in range(1, len(pages) + 1):
        for row in _leaf_rows(pages, number):
            table = COLUMNS.get(len(row))
            if table is not None and rows.whole(table, row):
                yield table, row


# --- pages ------------------------------------------------------------------------


def _pages(path: Path) -> _Pages:
    data = path.read_bytes()
    log = Path(f"{path}-wal")
    return _Pages(data, _logged(log.read_bytes()) if log.is_file() else {})


def _logged(log: bytes) -> dict[int, bytes]:
    """Pages in a write-ahead log, the newest of each, up to the last commit."""
    if len(log) < 32 or int.from_bytes(log[:4], "big") not in WAL_MAGIC:
        return {}
    committed: dict[int, bytes] = {}
    waiting: dict[int, bytes] = {}
    for start in range(32, len(log) - PAGE_BYTES - 23, PAGE_BYTES + 24):
        number, total = struct.unpack_from(">II", log, start)
        if log[start + 8 : start + 16] != log[16:24] or number == 0:
            break  # a frame of an earlier round of the log
        waiting[number] = log[start + 24 : start + 24 + PAGE_BYTES]
        if total:
            committed.update(waiting)
            waiting.clear()
    return committed


def _leaf_rows(pages: _Pages, number: int) -> Iterator[rows.Row]:
    """Rows of all cells of a table leaf that make sense; none for other pages."""
    page = pages[number]
    start = 100 if number == 1 else 0
    if len(page) < start + 8 or page[start] != TABLE_LEAF:
        return
    cells = int.from_bytes(page[start + 3 : start + 5], "big")
    for index in range(min(cells, len(page) // 2)):
        at = start + 8 + 2 * index
        place = int.from_bytes(page[at : at + 2], "big")
        try:
            yield _row(pages, page, place)
        except (IndexError, ValueError, struct.error):
            continue


# --- cells ------------------------------------------------------------------------


def _row(pages: _Pages, page: bytes, at: int) -> rows.Row:
    """The row in the cell at offset `at`.

    Raises:
        IndexError, ValueError: there is no sensible one.
    """
    size, at = _varint(page, at)
    number, at = _varint(page, at)
    if size > len(pages) * PAGE_BYTES:
        raise ValueError("longer than the file")
    payload = _payload(pages, page, at, size)
    header, place = _varint(payload, 0)
    kinds: list[int] = []
    while place < header:
        kind, place = _varint(payload, place)
        kinds.append(kind)
    if len(kinds) not in COLUMNS:
        raise ValueError("not a table of ours")
    values: list[object] = []
    for kind in kinds:
        value, place = _value(payload, place, kind)
        values.append(value)
    return (_signed(number), *values[1:])


def _payload(pages: _Pages, page: bytes, at: int, size: int) -> bytes:
    """A cell's bytes, gathered over its overflow pages."""
    most, least = PAGE_BYTES - 35, (PAGE_BYTES - 12) * 32 // 255 - 23
    if size <= most:
        return page[at : at + size]
    local = least + (size - least) % (PAGE_BYTES - 4)
    local = local if local <= most else least
    parts = [page[at : at + local]]
    following = int.from_bytes(page[at + local : at + local + 4], "big")
    left = size - local
    while left > 0:
        if not 0 < following <= len(pages):
            raise ValueError("its overflow pages end early")
        overflow = pages[following]
        parts.append(overflow[4 : min(4 + left, PAGE_BYTES)])
        left -= PAGE_BYTES - 4
        following = int.from_bytes(overflow[:4], "big")
    return b"".join(parts)


def _value(payload: bytes, at: int, kind: int) -> tuple[object, int]:
    """The value of serial type `kind` at offset `at`, and the offset after it."""
    if kind == 0:
        return None, at
    if kind in (8, 9):
        return kind - 8, at
    if kind in _INTEGER_BYTES:
        end = at + _INTEGER_BYTES[kind]
        return int.from_bytes(payload[at:end], "big", signed=True), end
    if kind < 12:
        raise ValueError("a type that we do not write")
    end = at + (kind - 12) // 2
    if end > len(payload):
        raise ValueError("it ends early")
    part = payload[at:end]
    return (part.decode() if kind % 2 else part), end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(8):
        byte = data[at + index]
        value = value << 7 | byte & 127
        if byte < 128:
            return value, at + index + 1
    return value << 8 | data[at + 8], at + 9


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value
