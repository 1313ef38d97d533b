"""All methods of the table: nothing comes in, a visible tuple goes out."""

from __future__ import annotations

from functools import partial

from benchmarks.autopilot.methods import PEERS, Row
from benchmarks.autopilot.ours import Autopilot

OURS: tuple[Row, ...] = (
    Row("steer", partial(Autopilot, "steer")),
    Row("guard", partial(Autopilot, "guard")),
)
ALL: tuple[Row, ...] = (*OURS, *PEERS)


def row_named(name: str) -> Row:
    """The method of that name.

    Raises:
        KeyError: there is none.
    """
    return {row.name: row for row in ALL}[name]
