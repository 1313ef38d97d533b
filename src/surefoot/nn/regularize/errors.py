"""What can be wrong with a regulariser's settings or with what it is given."""

from __future__ import annotations

from torch import Tensor


class RegularizeError(ValueError):
    """A setting, a shape or a value that a regulariser cannot work with."""


def checked_share(value: float, what: str) -> float:
    """A probability as it came.

    Raises:
        RegularizeError: it does not lie between 0 and 1.
    """
    if not 0 <= value <= 1:
        raise RegularizeError(f"{what}={value!r} came; expected a number from 0 to 1")
    return float(value)


def shown(quantity: Tensor) -> str:
    """A module's scheduled quantity in words for its repr."""
    return "?" if quantity.is_meta else f"{float(quantity):g}"
