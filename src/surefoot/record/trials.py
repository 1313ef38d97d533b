"""Verdicts of remedies that were tried, in a small file beside a record.

In: a record's path, a Verdict. Out: `NAME.trials.json`, and the Verdicts that it
holds. The record itself is not touched: it belongs to the run that wrote it.
"""

from __future__ import annotations

from pathlib import Path

from surefoot.record.beside import add, beside, listed
from surefoot.types import Verdict

TRIALS_SUFFIX = ".trials.json"

_MOST = 50
"""Verdicts that are kept, the latest: a page shows each of them in full."""


def trials_path(record: str | Path) -> Path:
    """Where the trials of a record lie.

    >>> trials_path("runs/net.surefoot").name
    'net.trials.json'
    """
    return beside(record, TRIALS_SUFFIX)


def trials_of(record: str | Path) -> list[Verdict]:
    """The verdicts on remedies of a record, oldest first; none where none are.

    An entry that is no verdict is passed over, as is a file that cannot be read.
    """
    return listed(Verdict, trials_path(record))


def add_trial(record: str | Path, verdict: Verdict) -> Path:
    """Add a verdict to those beside a record; the file is replaced as a whole.

    Raises:
        OSError: the folder cannot be written.
    """
    return add(trials_path(record), verdict, _MOST)
