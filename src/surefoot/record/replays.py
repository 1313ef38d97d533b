"""What replays of an incident told, in a small file beside a record.

In: a record's path, a Replayed. Out: `NAME.replays.json`, and the Replayed values that
it holds. The record itself is not touched: it belongs to the run that wrote it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from surefoot.record.beside import add, beside, listed
from surefoot.types import Prescription

REPLAYS_SUFFIX = ".replays.json"

_MOST = 20
"""Replays that are kept, the latest: a page shows each of them in full."""

Word = Literal[
    "as recorded",
    "prevented",
    "lessened",
    "delayed",
    "no effect",
    "worse",
    "does not apply",
    "not finished",
]
"""What a branch did: "as recorded" stands for the two that change nothing to cure."""

Result = Literal[
    "prevented", "no remedy helped", "nothing to prevent", "not reproduced"
]


@dataclass(frozen=True, slots=True)
class BranchVerdict:
    """What one change did to the moments of an incident.

    `losses` has one loss a step of the branch, on the same batches in all branches;
    `loss` is the median of the last ones. `held_out` is the loss on data set aside.
    """

    prescription: Prescription
    verdict: Word
    loss: float = math.nan
    held_out: float = math.nan
    losses: tuple[float, ...] = ()
    detail: str = ""
    """Why a change does not apply, or why its branch ended early."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """The moments of one incident again, once for each change.

    Steps are those of the recorded run: `first` to `last` were replayed, the branches
    part at `parting`, the harm begins at `onset`. `noise` is the largest share by
    which the unchanged branch departs from the recorded losses; 0 is bit-exact.
    `departs` is the step from which it is another course, if there is one.
    """

    incident: str
    first: int
    parting: int
    onset: int
    last: int
    result: Result
    cause: str = ""
    """In the words of the catalogue of causes; empty where none is implied."""
    evidence: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    remedy: Prescription | None = None
    """The cheapest change that prevented the harm."""
    branches: tuple[BranchVerdict, ...] = ()
    """The unchanged one first, then the one without any update."""
    recorded: tuple[float, ...] = ()
    noise: float = 0.0
    departs: int | None = None
    set_aside: str = "earlier batches"
    """What `held_out` was measured on: "held-out data", or batches before the onset."""
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    """Plain sentences: what limits the replay, such as a recording with gaps."""


def replays_path(record: str | Path) -> Path:
    """Where the replays of a record lie.

    >>> replays_path("runs/net.surefoot").name
    'net.replays.json'
    """
    return beside(record, REPLAYS_SUFFIX)


def replays_of(record: str | Path) -> list[Replayed]:
    """The replays of a record's incidents, oldest first; none where none are.

    An entry that is no replay is passed over, as is a file that cannot be read.
    """
    return listed(Replayed, replays_path(record))


def add_replay(record: str | Path, replayed: Replayed) -> Path:
    """Add a replay to those beside a record; the file is replaced as a whole.

    Raises:
        OSError: the folder cannot be written.
    """
    return add(replays_path(record), replayed, _MOST)
