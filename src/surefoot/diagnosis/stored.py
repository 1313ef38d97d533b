"""A run's diagnosis as its record keeps it: diagnoses to JSON values and back.

Its lookout writes it while the run goes on and once at the end, so that whoever opens
the record need not examine it again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, cast

from surefoot.record.reader import RecordReader
from surefoot.record.schema import UNKNOWN_VERSION
from surefoot.record.values import strict, value_of
from surefoot.types import Diagnosis

KEY = "diagnosis"
"""Key of the record's meta that holds it."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Diagnoses, ranked; the steps that were looked at; the surefoot that looked.

    `note` says what of a very long record was left out; "" where nothing was.
    """

    found: tuple[Diagnosis, ...]
    steps: int
    surefoot: str
    note: str = ""


def to_store(found: Sequence[Diagnosis], steps: int, note: str = "") -> dict[str, Any]:
    """The JSON value of a diagnosis of the first `steps` steps, as of today.

    `note` says what was left out, see `diagnosis.extent`.
    """
    told = {"surefoot": installed(), "steps": steps, "found": strict(list(found))}
    return told | ({"note": note} if note else {})


def stored_in(told: Any) -> Stored | None:
    """The diagnosis in a JSON value; None where it is not one of ours.

    >>> stored_in({"found": [], "steps": 5, "surefoot": "0.1.0"})
    Stored(found=(), steps=5, surefoot='0.1.0', note='')
    >>> stored_in({"found": "nothing"})
    """
    if not isinstance(told, Mapping):
        return None
    try:
        return value_of(Stored, cast(Mapping[str, Any], told))
    except (ValueError, RecursionError):
        return None


def is_final(stored: Stored, steps: int, today: str = "") -> bool:
    """Whether it says the last word on an ended run of `steps` steps.

    Not if steps came after it, nor if the surefoot of `today` (this one, if "") is
    newer than the one that looked, and may know more.

    >>> is_final(Stored((), 500, "0.1.0"), 500, "0.1.0")
    True
    >>> is_final(Stored((), 500, "0.1.0"), 500, "0.2.0")
    False
    """
    newest = _version(today or installed())
    return stored.steps >= steps and _version(stored.surefoot) >= newest


def last_word(reader: RecordReader) -> list[Diagnosis] | None:
    """The diagnosis that an ended run left in its record; None if it did not.

    Raises:
        RecordError: the record cannot be read.
    """
    stored = stored_in(reader.meta.get(KEY))
    if stored is None or not is_final(stored, steps_of(reader)):
        return None
    return list(stored.found)


def installed() -> str:
    """The version of this surefoot; "unknown" when run from a bare source tree."""
    try:
        return metadata.version("surefoot")
    except metadata.PackageNotFoundError:
        return UNKNOWN_VERSION


def steps_of(reader: RecordReader) -> int:
    """How many steps a record holds, over its longest stream."""
    last = [reader.last_step(stream) for stream in reader.streams()]
    return max((step + 1 for step in last if step is not None), default=0)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d{1,9}", text)[:3])
