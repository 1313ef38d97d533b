"""What can be wrong with a game between two networks."""

from __future__ import annotations


class GameError(ValueError):
    """Scores, inputs, players or settings of a game that cannot be used."""
