"""Verdicts of remedies that were tried, in a small file beside a record.

In: a record's path, a Verdict. Out: `NAME.trials.json`, and the Verdicts that it
holds. The record itself is not touched: it belongs to the run that wrote it.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from surefoot.record.schema import SUFFIX
from surefoot.record.values import strict, value_of
from surefoot.types import Verdict

TRIALS_SUFFIX = ".trials.json"

_MOST = 50
"""Verdicts that are kept, the latest: a page shows each of them in full."""

_MOST_BYTES = 4_000_000
"""A file beyond this was not written here: fifty verdicts take some 100 kB."""


def trials_path(record: str | Path) -> Path:
    """Where the trials of a record lie.

    >>> trials_path("runs/net.surefoot").name
    'net.trials.json'
    """
    path = Path(record)
    return path.with_name(path.name.removesuffix(SUFFIX) + TRIALS_SUFFIX)


def trials_of(record: str | Path) -> list[Verdict]:
    """The verdicts on remedies of a record, oldest first; none where none are.

    An entry that is no verdict is passed over, as is a file that cannot be read.
    """
    found: list[Verdict] = []
    for one in _entries(trials_path(record)):
        with contextlib.suppress(ValueError):
            found.append(value_of(Verdict, one))
    return found


def add_trial(record: str | Path, verdict: Verdict) -> Path:
    """Add a verdict to those beside a record; the file is replaced as a whole.

    Raises:
        OSError: the folder cannot be written.
    """
    path = trials_path(record)
    kept = [*_entries(path), strict(verdict)][-_MOST:]
    number, name = tempfile.mkstemp(dir=path.parent, prefix=".trials-", suffix=".json")
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            json.dump(kept, file, indent=1)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    return path


def _entries(path: Path) -> list[Any]:
    """What the file lists; nothing where it is no list of ours."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            return []
        told = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    return told if isinstance(told, list) else []
