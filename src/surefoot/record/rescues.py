"""What a rescue of a run came to, in a small file beside the run's record.

In: a record's path, a Rescued. Out: `NAME.rescues.json`, and the Rescued values that it
holds. The record itself is not touched: it belongs to the run that wrote it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from surefoot.record.beside import add, beside, listed

RESCUES_SUFFIX = ".rescues.json"

_MOST = 5
"""Rescues that are kept, the latest: a page shows each of them in full."""


@dataclass(frozen=True, slots=True)
class RescueAttempt:
    """One training of a rescue.

    `value` is its held-out number (NaN: it gave none), `losses` are those of the
    training, thinned to a few hundred, `share` how much of the run it took.
    """

    changes: tuple[str, ...]
    value: float = math.nan
    losses: tuple[float, ...] = ()
    share: float = 1.0
    chosen: bool = False
    detail: str = ""
    """Why a change does not fit, or why the training failed."""


@dataclass(frozen=True, slots=True)
class Rescued:
    """A rescue: what it came to in a sentence, the attempts, the untouched run first.

    `metric` names the number that judged, `spent` is what the attempts took, in
    lengths of the run.
    """

    headline: str
    metric: str
    attempts: tuple[RescueAttempt, ...]
    spent: float = 0.0


def rescues_path(record: str | Path) -> Path:
    """Where the rescues of a record lie.

    >>> rescues_path("runs/net.surefoot").name
    'net.rescues.json'
    """
    return beside(record, RESCUES_SUFFIX)


def rescues_of(record: str | Path) -> list[Rescued]:
    """The rescues of a record, oldest first; none where none are.

    An entry that is no rescue is passed over, as is a file that cannot be read.
    """
    return listed(Rescued, rescues_path(record))


def add_rescue(record: str | Path, rescued: Rescued) -> Path:
    """Add a rescue to those beside a record; the file is replaced as a whole.

    Raises:
        OSError: the folder cannot be written.
    """
    return add(rescues_path(record), rescued, _MOST)
