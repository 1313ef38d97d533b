"""What can be wrong with what a norm is given."""

from __future__ import annotations


class NormError(ValueError):
    """A shape, size, type or setting that a norm cannot work with."""
