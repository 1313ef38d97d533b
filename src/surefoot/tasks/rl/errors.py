"""What can be wrong with what a stabiliser of reinforcement learning is given."""

from __future__ import annotations


class RLError(ValueError):
    """Rewards, values, gradients or a setting that cannot be used as they came."""
