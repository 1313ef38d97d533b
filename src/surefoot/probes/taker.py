"""Where a recorder's values go: readings, events and fields come in."""

from __future__ import annotations

from typing import Protocol

from surefoot.types import Event, Field, Series


class Taker(Protocol):
    """Takes what was recorded; must never block or raise."""

    def append(self, series: Series) -> None:
        """Take a block of readings."""
        ...

    def event(self, event: Event) -> None:
        """Take an event."""
        ...

    def field(self, field: Field) -> None:
        """Take a histogram, a spectrum or a surface."""
        ...
