"""One stream as the signatures see it: what was recorded of one optimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from surefoot.types import Event, Facts, Series


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """Series by quantity, facts and events of one stream."""

    facts: Facts
    series: Mapping[str, Series]
    events: Sequence[Event] = ()

    @property
    def steps(self) -> int:
        """Number of updates that were recorded; metrics that were logged are none."""
        made = (self.series.get(name) for name in ("lr", "grad_norm", "update_norm"))
        return max((one.steps.size for one in made if one is not None), default=0)
