"""Small JSON lists beside a record: entries come in, a file that is replaced goes out.

The record itself is not touched: it belongs to the run that wrote it.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any, TypeVar

from surefoot.record.schema import SUFFIX
from surefoot.record.values import strict, value_of

Kind = TypeVar("Kind")

_MOST_BYTES = 8_000_000
"""A file beyond this was not written here: the longest lists take some 400 kB."""


def beside(record: str | Path, suffix: str) -> Path:
    """The file of a kind that belongs to a record.

    >>> beside("runs/net.surefoot", ".trials.json").name
    'net.trials.json'
    """
    path = Path(record)
    return path.with_name(path.name.removesuffix(SUFFIX) + suffix)


def listed(kind: type[Kind], path: Path) -> list[Kind]:
    """The values of a kind that the file lists, oldest first; none without a file.

    An entry that is none is passed over, as is a file that cannot be read.
    """
    found: list[Kind] = []
    for one in _entries(path):
        with contextlib.suppress(ValueError):
            found.append(value_of(kind, one))
    return found


def _entries(path: Path) -> list[Any]:
    """What the file lists; nothing where it is no list of ours."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            return []
        told = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    return told if isinstance(told, list) else []


def add(path: Path, entry: Any, most: int) -> Path:
    """Add an entry to the list and keep the latest; the file is replaced as a whole.

    Raises:
        OSError: the folder cannot be written.
    """
    kept = [*_entries(path), strict(entry)][-most:]
    number, name = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.name}-", suffix=".part"
    )
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            json.dump(kept, file, indent=1)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    return path
