"""What lies before the loss: wiring events come in, paths of operations go out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from surefoot.types import Event

DISTANCES = ("MseLoss", "L1Loss", "SmoothL1Loss", "HuberLoss")


def heads(event: Event) -> list[tuple[str, ...]]:
    """The paths of operations of a wiring event; what is odd in it is left out."""
    told: Any = event.body.get("heads", ())
    rows = cast(list[Any], told) if isinstance(told, list | tuple) else []
    return [
        tuple(str(one) for one in row) for row in rows if isinstance(row, list | tuple)
    ]


def is_agent(events: Sequence[Event]) -> bool:
    """Whether single outputs are picked from the network by the actions of an agent.

    Its loss is no score: targets move while it learns. A likelihood picks outputs
    too, in one operation of its own.
    """
    paths = [path for e in events if e.kind == "wiring" for path in heads(e)]
    picks = any("Gather" in path or "Index" in path for path in paths)
    return picks and not any(
        one.startswith("NllLoss") for path in paths for one in path
    )
