"""What kind of point this is: gradient and extreme curvatures come in, a name goes out.

Dauphin et al. 2014 (arXiv 1406.2572) tell points apart by the signs of the Hessian's
eigenvalues where the gradient vanishes. "Vanishes" and "zero" need a scale, or every
answer could be had by changing units: here a slope or a curvature is flat when it
would change the loss by less than a small share of its scale over the length that one
is interested in. What the errors of the estimates leave open is called unresolved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from surefoot.curvature.lanczos import eigenpairs
from surefoot.curvature.moves import norm_of
from surefoot.curvature.noise import micro_gradients, noise_scale
from surefoot.curvature.operators import hessian
from surefoot.types import LossFunction

Kind = Literal[
    "minimum", "maximum", "saddle", "plateau", "sharp valley", "slope", "unresolved"
]

FLAT = 1e-3
"""Share of the loss scale below which a change over one length counts as none. Of the
order of what one sees on a plot of the loss; x⁴ at 0.01 has slope 4e-6 and curvature
1.2e-3, which change it by 4e-6 and 6e-4 over a length of one: a plateau."""

VALLEY = 100.0
"""Ratio of λ_max to |λ_min| from which on a valley is sharp. Gradient descent at its
best rate multiplies the error along the flat direction by (κ−1)/(κ+1) a step (Nesterov
2004, theorem 2.1.15): at 100 it takes 115 steps to shrink it tenfold."""


@dataclass(frozen=True, slots=True)
class Scale:
    """What lengths and losses are measured against.

    `length` is a distance in weight space over which the shape matters, `loss` a
    difference of losses that matters: one and one for a picture of a function, the
    norm of the weights and the loss itself for a network.
    """

    length: float = 1.0
    loss: float = 1.0
    flat: float = FLAT

    @property
    def slope(self) -> float:
        """A gradient norm below which there is no slope."""
        return self.flat * self.loss / self.length

    @property
    def curvature(self) -> float:
        """An eigenvalue below which there is no curvature."""
        return 2 * self.flat * self.loss / self.length**2


@dataclass(frozen=True, slots=True)
class Value:
    """A number and what it may be off by."""

    value: float
    error: float = 0.0


@dataclass(frozen=True, slots=True)
class Point:
    """What a point is called, and by which numbers.

    `stationary` says whether the gradient is within its noise or flat on the scale;
    None if that cannot be told. `why` is one sentence.
    """

    kind: Kind
    why: str
    gradient_norm: Value
    lowest: Value
    highest: Value
    stationary: bool | None

    def __str__(self) -> str:
        """The name, and why."""
        return f"{self.kind}: {self.why}"


Number = float | Value


def classify(
    gradient_norm: Number,
    lowest: Number,
    *,
    highest: Number,
    scale: Scale | None = None,
) -> Point:
    """Name a point by its gradient and the ends of its Hessian's spectrum.

    | | λ_min < 0 | λ_min ≈ 0 | λ_min > 0 |
    |-|-|-|-|
    | no slope, λ_max > 0 | saddle | minimum (flat directions) | minimum |
    | no slope, λ_max ≈ 0 | maximum (flat directions) | plateau | |
    | no slope, λ_max < 0 | maximum | | |
    | slope | slope | slope | slope |

    Where λ_max is `VALLEY` times as large as |λ_min| and as the smallest curvature
    that counts, the point lies in a sharp valley: on its way down or, without a slope
    and negative curvature, at its bottom.

    Args:
        gradient_norm: Euclidean norm; its error is the noise of a mini-batch.
        lowest: λ_min of the Hessian, with its error.
        highest: λ_max of the Hessian, with its error.
        scale: what counts as flat; one and one if not given.

    Raises:
        ValueError: λ_min above λ_max by more than their errors, or a negative norm.

    >>> classify(0.0, -2.0, highest=2.0).kind
    'saddle'
    >>> classify(4e-6, 1.2e-3, highest=1.2e-3).kind
    'plateau'
    >>> print(classify(0.0, 0.1, highest=100.0))
    sharp valley: stationary, λ_max = 100 is 1e+03 times |λ_min| = 0.1
    >>> classify(0.5, Value(1.0, 3.0), highest=Value(4.0, 3.0)).kind
    'slope'
    >>> classify(0.0, Value(0.1, 0.2), highest=4.0).kind
    'unresolved'
    """
    scale = scale or Scale()
    slope, low, high = map(_value, (gradient_norm, lowest, highest))
    _check(slope, low, high)
    stationary = _is_small(slope, scale.slope)
    signs = _sign(low, scale.curvature), _sign(high, scale.curvature)
    kind, why = _name(stationary, signs)
    if kind != "unresolved" and _is_valley(low, high, scale, stationary is True):
        ratio = high.value / max(abs(low.value), scale.curvature)
        where = "stationary" if stationary else "on a slope"
        kind, why = (
            "sharp valley",
            (
                f"{where}, λ_max = {high.value:.3g} is {ratio:.3g} times "
                f"|λ_min| = {abs(low.value):.3g}"
            ),
        )
    return Point(kind, why, slope, low, high, stationary)


def classify_function(
    function: Callable[[torch.Tensor], torch.Tensor],
    point: torch.Tensor,
    *,
    scale: Scale | None = None,
) -> Point:
    """Name a point of a function of few variables, by its full Hessian.

    Args:
        function: from a tensor of shape `[n]` to one number; twice differentiable.
        point: where, shape `[n]`.
        scale: what counts as flat; one and one if not given.

    >>> classify_function(lambda w: w[0] ** 2 - w[1] ** 2, torch.zeros(2)).kind
    'saddle'
    """
    at = point.detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(function(at), at)
    hessian = torch.autograd.functional.hessian(function, point.detach())
    values = torch.linalg.eigvalsh(torch.as_tensor(hessian).double())
    return classify(
        float(slope.double().norm()),
        float(values[0]),
        highest=float(values[-1]),
        scale=scale,
    )


def classify_point(
    model: nn.Module,
    data: Any,
    *,
    loss_fn: LossFunction,
    scale: Scale | None = None,
    micro_batches: Sequence[Any] = (),
    tolerance: float = 1e-2,
) -> Point:
    """Name the point that a model is at, on these data.

    Costs 10 to 40 products with the Hessian for both ends of its spectrum. A network
    in training is hardly ever stationary, and its λ_min is a little below zero.

    Args:
        model: whose weights are the point.
        data: one batch, a DataLoader, or `Batches`.
        loss_fn: the mean loss of a batch.
        scale: what counts as flat; if not given, a thousandth of the loss over the
            norm of the weights.
        micro_batches: three or more parts of the data (`noise.parts`), whose scatter
            says how much of the gradient is noise. Without them it counts as exact.
        tolerance: relative error of λ_max.

    Raises:
        CurvatureError: fewer than three micro-batches, or what `hessian` raises.
    """
    with hessian(model, data, loss_fn=loss_fn) as whole:
        pairs = eigenpairs(whole, 1, which="both", tolerance=tolerance)
        gradient, loss = whole.gradient, abs(float(whole.loss))
        length = norm_of(whole.space)
    noise = 0.0
    if micro_batches:
        scatter = micro_gradients(model, micro_batches, loss_fn=loss_fn)
        noise = (noise_scale(scatter).noise.value / sum(scatter.sizes)) ** 0.5
    highest, lowest = pairs.estimate(0), pairs.estimate(len(pairs.values) - 1)
    return classify(
        Value(float(gradient.double().norm()), noise),
        Value(lowest.value, lowest.error),
        highest=Value(highest.value, highest.error),
        scale=scale or Scale(length or 1.0, loss or 1.0),
    )


# --- what errors leave open -----------------------------------------------------


def _value(number: Number) -> Value:
    return number if isinstance(number, Value) else Value(float(number))


def _check(slope: Value, low: Value, high: Value) -> None:
    if slope.value < 0:
        raise ValueError(f"gradient_norm is {slope.value}; expected a norm, 0 or more")
    if low.value - high.value > low.error + high.error + 1e-6 * abs(low.value):
        raise ValueError(
            f"lowest {low.value} lies above highest {high.value}; expected the "
            "smallest and the largest eigenvalue: swap them"
        )


def _is_small(number: Value, floor: float) -> bool | None:
    """Whether a norm is below its floor, or could be nothing but its noise.

    A noisy gradient that is not told from zero, and one that clearly is not: twice the
    noise is the 95 % line of a normal error.
    """
    if not math.isfinite(number.value + number.error):
        return None
    return number.value <= max(floor, 2 * number.error)


def _sign(number: Value, floor: float) -> int | None:
    """-1, 0 or 1: the sign of a curvature that counts; None if its error hides it."""
    if not math.isfinite(number.value + number.error):
        return None
    if number.value - number.error > floor:
        return 1
    if number.value + number.error < -floor:
        return -1
    return 0 if abs(number.value) + number.error <= floor else None


def _is_valley(low: Value, high: Value, scale: Scale, stationary: bool) -> bool:
    """Whether one direction is far more curved than the least; a saddle is none."""
    if stationary and low.value < -max(low.error, scale.curvature):
        return False
    least = max(abs(low.value) + low.error, scale.curvature)
    return high.value - high.error >= VALLEY * least


def _name(
    stationary: bool | None, signs: tuple[int | None, int | None]
) -> tuple[Kind, str]:
    """The row of the table in `classify`."""
    if stationary is None:
        return "unresolved", "the gradient is not finite"
    if None in signs and (stationary or signs == (None, None)):
        if not stationary:
            return (
                "slope",
                "the gradient is clear of its noise; curvature is unresolved",
            )
        return _unresolved(signs)
    if not stationary:
        return "slope", "the gradient is clear of its noise and not flat"
    return _STATIONARY[signs[0] or 0, signs[1] or 0]


def _unresolved(signs: tuple[int | None, int | None]) -> tuple[Kind, str]:
    """A saddle is one as soon as both signs are known; the rest needs both."""
    which = " and ".join(
        name
        for name, sign in zip(("λ_min", "λ_max"), signs, strict=True)
        if sign is None
    )
    return "unresolved", f"stationary, but the error of {which} hides its sign"


_STATIONARY: Mapping[tuple[int, int], tuple[Kind, str]] = {
    (1, 1): ("minimum", "stationary, and the loss curves up in all directions"),
    (0, 1): ("minimum", "stationary; it curves up, and is flat in some directions"),
    (-1, 1): ("saddle", "stationary; it curves up in some directions, down in others"),
    (0, 0): ("plateau", "neither slope nor curvature counts on this scale"),
    (-1, 0): ("maximum", "stationary; it curves down, and is flat in some directions"),
    (-1, -1): ("maximum", "stationary, and the loss curves down in all directions"),
}
