"""What can be wrong with a state: one exception, whose message says what to do."""

from __future__ import annotations


class StateError(ValueError):
    """A state that cannot be taken, or that does not fit where it is put back."""
