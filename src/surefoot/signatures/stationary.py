"""Where a run stands: gradient and curvature come in, the kind of point goes out.

Also the longest stable step for a curvature. Both are arithmetic: whoever measured the
curvature (a preflight check, a curvature probe) brings the numbers.
"""

from __future__ import annotations

from typing import Literal

Point = Literal["moving", "minimum", "saddle", "plateau", "sharp valley"]

VALLEY = 100.0
"""Ratio of the largest to the smallest curvature that makes a valley: plain gradient
descent then needs a hundred steps along it for each one across (Goodfellow et al.
2016, section 4.3)."""
ADAM_LIMIT = 38.0
"""(2 + 2 β₁) / (1 - β₁) for β₁ = 0.9 (Cohen et al. 2022, arXiv:2207.14484)."""


def point(
    grad_norm: float, lowest: float, highest: float, *, floor: float = 1e-6
) -> Point:
    """The kind of point, from the gradient and both ends of the spectrum.

    `floor` is the noise of all three: what is smaller counts as zero. A saddle has
    curvature of both signs, a plateau none at all (Dauphin et al. 2014,
    arXiv:1406.2572). "moving" is no stationary point.

    >>> point(0.0, -2.0, 2.0), point(1e-9, 1e-8, 1e-8)
    ('saddle', 'plateau')
    """
    if lowest < -floor and highest > floor:
        return "saddle" if grad_norm <= max(floor, 0.1 * highest) else "moving"
    flat = max(abs(lowest), abs(highest)) <= floor
    if flat:
        return "plateau" if grad_norm <= floor else "moving"
    if highest > VALLEY * max(lowest, floor):
        return "sharp valley"
    return "minimum" if grad_norm <= floor else "moving"


def stability_limit(momentum: float = 0.0, *, adaptive: bool = False) -> float:
    """Largest stable product of learning rate and top curvature.

    2 for plain gradient descent, 2 (1 + β) with heavy-ball momentum β. For Adam the
    curvature is that of the preconditioned Hessian and β is β₁: (2 + 2 β₁) / (1 - β₁),
    38 at 0.9 (Cohen et al. 2021, arXiv:2103.00065; 2022, arXiv:2207.14484).

    Raises:
        ValueError: a momentum outside 0 <= β < 1.

    >>> stability_limit(), round(stability_limit(0.9, adaptive=True))
    (2.0, 38)
    """
    if not 0.0 <= momentum < 1.0:
        raise ValueError(f"momentum came as {momentum}; expected 0 <= momentum < 1")
    limit = 2.0 * (1.0 + momentum)
    return limit / (1.0 - momentum) if adaptive else limit
