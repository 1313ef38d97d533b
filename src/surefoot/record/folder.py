"""A folder comes in, the runs in it go out: a listing, or the one that was meant.

A damaged or foreign file is listed with its trouble; it never hides the others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from surefoot.record.reader import RecordReader
from surefoot.record.schema import SUFFIX, RecordError

DEFAULT_FOLDER = "surefoot-runs"
"""Where runs are recorded if nothing else is said; below the working directory."""

_RANK_FILE = re.compile(r"\.rank\d+\.surefoot$")


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One line of a listing.

    `created` is UTC; `steps` counts from 0 to the last recorded step of any stream;
    `last_loss` is that of the first stream that has one. `trouble` says what is
    wrong with the file; then the other fields hold what could be read.
    """

    path: Path
    name: str
    created: datetime
    status: str
    steps: int = 0
    streams: tuple[str, ...] = ()
    last_loss: float | None = None
    trouble: str | None = None


def list_runs(folder: str | Path = DEFAULT_FOLDER) -> list[RunSummary]:
    """The runs in a folder, oldest first; none if there is no such folder.

    Files of ranks above 0 belong to the run of rank 0 and are not listed.
    """
    found = [_summary(path) for path in _records(Path(folder))]
    return sorted(found, key=lambda one: (one.created, one.name))


def find_run(reference: str | Path, folder: str | Path = DEFAULT_FOLDER) -> Path:
    """The record that `reference` means.

    A path, a name (with or without `.surefoot`), the beginning of one name, or
    "last" for the newest.

    Raises:
        RecordError: none or several are meant; the message lists the candidates.
    """
    if Path(reference).is_file():
        return Path(reference)
    text, records = str(reference), _records(Path(folder))
    if text == "last" and records:
        return max(records, key=_began)
    exact = [path for path in records if text in (path.name, name_of(path))]
    found = exact or [path for path in records if path.name.startswith(text)]
    if len(found) == 1 and text:
        return found[0]
    raise RecordError(_not_found(text, Path(folder), found or records, bool(found)))


def name_of(path: Path) -> str:
    """The run's name: its file's, without the suffix.

    >>> name_of(Path("surefoot-runs/net-20260102-030405-7b38.surefoot"))
    'net-20260102-030405-7b38'
    """
    return path.name.removesuffix(SUFFIX)


def _not_found(text: str, folder: Path, candidates: list[Path], several: bool) -> str:
    wanted = "expected a path, a name, the beginning of just one name, or 'last'"
    if not candidates:
        return (
            f"no run {text!r}: there is no record in {folder}; {wanted}; record a run "
            "first (surefoot run SCRIPT), or name the folder"
        )
    names = sorted(map(name_of, candidates))
    listed = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
    what = "means several runs" if several else "is no run"
    return f"{text!r} {what} in {folder}; {wanted}; there: {listed}"


# --- one file -------------------------------------------------------------------


def _records(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise RecordError(
            f"{folder} cannot be listed ({error.strerror}); expected a readable "
            "folder; check its permissions"
        ) from error
    return [
        path
        for path in inside
        if path.suffix == SUFFIX and not _RANK_FILE.search(path.name) and _is_file(path)
    ]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _began(path: Path) -> tuple[datetime, datetime]:
    """When the run began, by its file's name; and when the file was changed."""
    stamp = re.search(r"-(\d{8}-\d{6})-[0-9a-f]{4}$", name_of(path))
    if stamp:
        try:
            told = datetime.strptime(stamp[1], "%Y%m%d-%H%M%S").astimezone()
        except ValueError:
            return _changed(path), _changed(path)
        return told, _changed(path)
    return _changed(path), _changed(path)


def _changed(path: Path) -> datetime:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return datetime.fromtimestamp(0, UTC)


def _summary(path: Path) -> RunSummary:
    try:
        with RecordReader(path) as reader:
            return _read_summary(path, reader)
    except RecordError as error:
        return RunSummary(
            path, name_of(path), _changed(path), "unreadable", trouble=str(error)
        )


def _read_summary(path: Path, reader: RecordReader) -> RunSummary:
    streams = reader.streams()
    last = [reader.last_step(stream) for stream in streams]
    loss = next((stream for stream in streams if reader.has("loss", stream)), None)
    return RunSummary(
        path=path,
        name=name_of(path),
        created=_created(path, reader.meta.get("created")),
        status=reader.status(),
        steps=max((step + 1 for step in last if step is not None), default=0),
        streams=streams,
        last_loss=None if loss is None else last_loss(reader, loss),
        trouble=reader.damage or reader.meta.get("trouble"),
    )


def _created(path: Path, text: object) -> datetime:
    try:
        told = datetime.fromisoformat(str(text))
    except ValueError:
        return _changed(path)
    return told if told.tzinfo else told.replace(tzinfo=UTC)


def last_loss(reader: RecordReader, stream: str) -> float | None:
    """The last reading of a stream's loss; None where there is none."""
    # The loss may end before other quantities do: its own last block is wanted.
    start, last = reader.last_step(stream, "loss"), None
    for block in reader.blocks("loss", stream, start=start):
        last = block
    return None if last is None else float(last.values[-1, 0])
