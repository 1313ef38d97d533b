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
        """Number of updates that were recorded."""
        return max((one.steps.size for one in self.series.values()), default=0)
