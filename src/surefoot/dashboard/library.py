"""A folder comes in; the records that lie in it go out, by name, marked, and opened.

No path is ever made from what a request says: a name is looked up among the files
that lie in the folder, and a link that leads out of it is not one of them.
"""

from __future__ import annotations

import os
import re
import stat
import threading
from collections import OrderedDict
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from surefoot.record.folder import name_of
from surefoot.record.reader import RecordReader
from surefoot.record.replays import replays_path
from surefoot.record.rescues import rescues_path
from surefoot.record.schema import SUFFIX, RecordError
from surefoot.record.trials import trials_path

KEPT = 8
"""Readers of ended records that stay open: the pages that one person has in use."""

RESTORED_BYTES = 16_000_000
"""A damaged record is restored in memory: of four at a time the server takes some
200 MB. Larger ones are refused, with the command that restores them."""

_SETTLED_NS = 100_000_000
"""Within a tenth of a second of a change another may leave the same time behind:
file systems count time in steps of the kernel's clock, 1 to 10 ms on Linux."""

_AHEAD_NS = 5_000_000_000
"""A change farther in the future than this is told by a clock that goes wrong."""

_RANK_FILE = re.compile(r"\.rank\d+\.surefoot$")


class UnknownRunError(RecordError):
    """No record of that name lies in the folder."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Changes whenever a record, its journal, its trials or replays do.

    `record`, `journal` and `trials` hold a file's number, size in bytes and time of
    change in ns, and are empty where there is no such file; replays and
    rescues go with trials.
    """

    record: tuple[int, ...]
    journal: tuple[int, ...]
    trials: tuple[int, ...]

    def settled(self, now_ns: int) -> bool:
        """Whether a later change is sure to make another mark."""
        return not -_AHEAD_NS < self.age_ns(now_ns) <= _SETTLED_NS

    def age_ns(self, now_ns: int) -> int:
        """How long ago the last change was; negative where clocks differ."""
        times = (*self.record[2::3], *self.journal[2::3], *self.trials[2::3])
        return now_ns - max(times, default=0)


class Library:
    """The records of one folder, which may come to exist later.

    Safe to use from several threads; `close` lets go of all files.
    """

    def __init__(self, folder: Path, kept: int = KEPT) -> None:
        self.folder = Path(os.path.abspath(folder))
        self._most = kept
        self._kept: OrderedDict[tuple[Path, Mark], RecordReader] = OrderedDict()
        self._lock = threading.Lock()
        self._closed = False

    def paths(self) -> dict[str, Path]:
        """The records by name; none where there is no such folder.

        Raises:
            RecordError: the folder cannot be listed.
        """
        try:
            with os.scandir(self.folder) as inside:
                found = [Path(one.path) for one in inside if self._is_record(one)]
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise RecordError(
                f"{self.folder} cannot be listed ({error.strerror}); expected a "
                "readable folder; check its permissions"
            ) from error
        return {name_of(path): path for path in sorted(found)}

    def path(self, name: str) -> Path:
        """The record of that name.

        Raises:
            UnknownRunError: there is none.
        """
        found = self.paths().get(name)
        if found is None:
            raise UnknownRunError(
                f"there is no run {name[:100]!r} in {self.folder}; expected the name "
                "of a *.surefoot file there; it may have been deleted or renamed"
            )
        return found

    @contextmanager
    def reading(self, path: Path) -> Generator[RecordReader]:
        """A reader of one of our paths, for this block only.

        A reader of an ended record is kept open for the next question. One of a
        record that is being written is not: its writer leaves a journal behind if
        anybody has the file open when it ends. Nor is one of a damaged record, which
        holds the whole of it in memory.

        Raises:
            RecordError: the file cannot be read.
        """
        mark = mark_of(path)
        with self._lock:
            reader = self._kept.pop((path, mark), None)
        reader = reader or _opened(path)
        try:
            yield reader
        finally:
            self._put_back(reader, mark)

    def close(self) -> None:
        """Close all readers; those in use are closed after use."""
        with self._lock:
            self._closed = True
            rest = list(self._kept.values())
            self._kept.clear()
        for reader in rest:
            reader.close()

    def _put_back(self, reader: RecordReader, mark: Mark) -> None:
        """Keep a reader, or close it; close those that it takes the place of."""
        path = reader.path
        keep = bool(mark.record) and not mark.journal and reader.damage is None
        with self._lock:
            spare = [key for key in self._kept if key[0] == path]
            if keep and not self._closed:
                closing = [self._kept.pop(key) for key in spare]
                self._kept[path, mark] = reader
                while len(self._kept) > self._most:
                    closing.append(self._kept.popitem(last=False)[1])
            else:
                closing = [reader]
        for one in closing:
            one.close()

    def _is_record(self, entry: os.DirEntry[str]) -> bool:
        """Whether it is a run's own file, and lies in this folder."""
        path = Path(entry.path)
        if path.suffix != SUFFIX or _RANK_FILE.search(entry.name):
            return False
        try:
            if entry.is_symlink():
                home = self.folder.resolve()
                return (
                    path.resolve(strict=True).is_relative_to(home) and entry.is_file()
                )
            return entry.is_file()
        except (OSError, RuntimeError):  # broken links, and links in a circle
            return False


def has_plain_name(name: str) -> bool:
    r"""Whether a name can stand in an address: a browser takes dots for folders.

    >>> [has_plain_name(name) for name in ("net 1", "..", "\udcff")]
    [True, False, False]
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return name not in (".", "..")


def _opened(path: Path) -> RecordReader:
    try:
        return RecordReader(path, salvage_most_bytes=RESTORED_BYTES)
    except RecordError as error:
        if path.exists():
            raise
        raise UnknownRunError(
            f"the run {name_of(path)[:100]!r} was deleted or renamed a moment ago; "
            "expected its file to stay; choose another run"
        ) from error


def mark_of(path: Path) -> Mark:
    """The mark of a record as it is now; of empty parts where it is gone."""
    record = str(path)
    journals = _state(f"{record}-wal") + _state(f"{record}-journal")
    beside = (trials_path(path), replays_path(path), rescues_path(path))
    tried = tuple(part for file in beside for part in _state(str(file)))
    return Mark(_state(record), journals, tried)


def _state(path: str) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ()
    if not stat.S_ISREG(found.st_mode):
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns
