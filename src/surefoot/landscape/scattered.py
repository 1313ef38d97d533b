"""Values at scattered places come in; values between them, and how far off, go out.

Radial basis functions with a polynomial tail, and in closed form what each would say
of a known place if that place were left out (Rippa 1999, doi:10.1023/A:1018975909870).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from surefoot.landscape.directions import Floats64

KERNELS: Final = ("linear", "thin plate", "cubic", "quintic")
"""From rugged to smooth. Which fits best is told by what each says of places that are
left out: cliffs ask for the first, the surfaces of trained nets for the last."""

OVERSHOOT: Final = 10.0
"""Between positive values, interpolated ones leave the range of the known ones by this
factor at most: it keeps a wall beside a plain from ringing into zero or overflow."""


@dataclass(frozen=True, slots=True, eq=False)
class Interpolation:
    """What one kernel says.

    `values` (shape `[wanted]`) of the wanted places, `left_out` (shape `[known]`) of
    each known place, were it not known.
    """

    kernel: str
    logarithmic: bool
    values: Floats64
    left_out: Floats64


def interpolations(
    known: Floats64, values: Floats64, wanted: Floats64
) -> list[Interpolation]:
    """All interpolations of values, and of their logarithms where all are positive.

    Args:
        known: places of the values, shape `[known, 2]`, not all on one conic section.
        values: finite, shape `[known]`.
        wanted: other places, shape `[wanted, 2]`.
    """
    positive = bool(values.min() > 0)
    columns = np.stack([values, np.log(values)] if positive else [values], axis=1)
    near = (known, _distances(known, known))
    far = (wanted, _distances(wanted, known))
    found: list[Interpolation] = []
    for kernel in KERNELS:
        told, missed = _solved(kernel, near, far, columns)
        for at in range(columns.shape[1]):
            pair = told[:, at], columns[:, at] - missed[:, at]
            if positive:
                pair = [_within(one, values, bool(at)) for one in pair]
            found.append(Interpolation(kernel, bool(at), *pair))
    return found


def _within(told: Floats64, values: Floats64, logarithmic: bool) -> Floats64:
    """Interpolated values, or their logarithms, as values near the known ones."""
    low, high = float(values.min()) / OVERSHOOT, float(values.max()) * OVERSHOOT
    if logarithmic:
        return np.exp(np.clip(told, np.log(low), np.log(high)))
    return np.clip(told, low, high)


def _distances(one: Floats64, other: Floats64) -> Floats64:
    return np.sqrt(((one[:, None] - other[None]) ** 2).sum(-1))


def _solved(
    kernel: str,
    known: tuple[Floats64, Floats64],
    wanted: tuple[Floats64, Floats64],
    values: Floats64,
) -> tuple[Floats64, Floats64]:
    """Values at the wanted places, and by how much each known one is missed.

    Places come with their distances to the known ones. The residual of a place that
    is left out is its coefficient over the diagonal of the inverse.
    """
    tail = _tail(kernel, known[0])
    count, terms = tail.shape
    system = np.zeros((count + terms, count + terms))
    system[:count, :count] = _basis(kernel, known[1])
    system[:count, count:] = tail
    system[count:, :count] = tail.T
    inverse = np.linalg.inv(system)
    factors = inverse[:, :count] @ values
    at_wanted = (
        _basis(kernel, wanted[1]) @ factors[:count]
        + _tail(kernel, wanted[0]) @ factors[count:]
    )
    return at_wanted, factors[:count] / np.diag(inverse)[:count, None]


def _basis(kernel: str, distance: Floats64) -> Floats64:
    if kernel == "linear":
        return -distance
    if kernel == "cubic":
        return distance**3
    if kernel == "quintic":
        return -(distance**5)
    return distance**2 * np.log(np.where(distance > 0, distance, 1.0))


def _tail(kernel: str, places: Floats64) -> Floats64:
    one = np.ones((len(places), 1))
    if kernel == "linear":
        return one
    if kernel != "quintic":
        return np.hstack([one, places])
    return np.hstack([one, places, places**2, places.prod(1, keepdims=True)])
