"""What can be wrong with a replay: one exception, whose message says what to do."""

from __future__ import annotations


class ReplayError(ValueError):
    """An incident that cannot be replayed, or not with what was given."""
