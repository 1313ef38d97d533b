"""Critical sharpness: a model, data and a direction come in, a curvature goes out.

The critical rate η_c is the smallest rate at which a step along the update raises the
loss; 2/η_c is the critical sharpness (Kalra et al. 2026, arXiv 2601.16979). It needs
forward passes only, and no second derivatives, so that it can be had where nothing
else can: with fused attention, compiled models, billions of weights. On a quadratic,
along its gradient, it is the curvature along the gradient, g·Hg/g·g.

It is a curvature along the update, not λ_max: see `curvature.along`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from surefoot.curvature.errors import CurvatureError
from surefoot.curvature.estimate import Estimate
from surefoot.curvature.losses import Losses
from surefoot.curvature.moves import moving, norm_of
from surefoot.curvature.space import Space, Where, space
from surefoot.types import LossFunction

MOST_PASSES = 40
"""Forward passes after which the search gives up: from its first guess that is at
least seven decades of rates. On a small ResNet in training it takes 6 or 7."""

GROWTH = 4.0
"""Factor between the rates that are tried until two lie around η_c. On a quadratic the
guess from the first two losses lands at once, and this is not used."""


FLAT = 4
"""Machine epsilons of the loss within which a change is none."""


@dataclass(frozen=True, slots=True)
class _Try:
    """A rate that was tried; `rise` is (L(w + ηd) − L(w))/η, linear on a quadratic.

    It is 0 where the change is lost in the last digits of the loss.
    """

    rate: float
    rise: float

    @property
    def rose(self) -> bool:
        return not self.rise <= 0


def critical_sharpness(
    model: nn.Module,
    data: Any,
    *,
    loss_fn: LossFunction,
    direction: Tensor | None = None,
    tolerance: float = 0.05,
    where: Where = None,
) -> Estimate:
    """2/η_c by forward passes; the error is half of what two rates leave between them.

    The search brackets η_c: at its lower end the loss did not rise, at its upper end
    it did. Rates are chosen by the parabola through the losses that are known, and by
    halving where that does not shrink the bracket. A loss that is NaN or infinite has
    risen.

    Args:
        model: whose weights are moved, and put back bit by bit.
        data: one batch, a DataLoader, or `Batches`.
        loss_fn: the mean loss of a batch.
        direction: the update for a rate of one, flat `[n]`: for another optimizer than
            plain SGD `next_update(...)` over its learning rate. None for the negative
            gradient, which costs one backward pass.
        tolerance: width of the bracket as a share of η_c.
        where: the weights that are moved; None for all.

    Returns:
        The estimate; `converged` is False, and `note` says why, where the loss rises
        at the smallest rate (no descent direction), or falls at the largest.

    Raises:
        CurvatureError: the loss is not finite, the direction is zero or of another
            size, or the tolerance is not between 0 and 1.
    """
    if not 0 < tolerance < 1:
        raise CurvatureError(f"tolerance is {tolerance}; expected between 0 and 1")
    over, losses = space(model, where), Losses(model, data, loss_fn=loss_fn)
    along = -losses.gradient(over) if direction is None else direction
    along = _checked(over, along)
    # Without a step the rise per rate is the slope, which the gradient tells for free.
    start = None if direction is not None else _Try(0.0, -_square(along))
    here = losses.value()
    if not math.isfinite(here):
        raise CurvatureError(f"the loss is {here}; expected a finite one")
    with moving(over) as moves:
        pieces = over.split(along)

        def rise(rate: float) -> float:
            moves.to(pieces, rate)
            change = losses.value() - here
            told = not abs(change) <= FLAT * losses.rounding * abs(here)
            return change / rate if told else 0.0

        low, high = _bracket(rise, _first_guess(over, along), before=start)
        low, high = _narrow(rise, low=low, high=high, tolerance=tolerance)
    return _estimate(low, high, tolerance=tolerance, passes=losses.passes)


def _square(along: Tensor) -> float:
    return float(along.double().square().sum())


def _checked(over: Space, along: Tensor) -> Tensor:
    if along.shape != (over.size,):
        raise CurvatureError(
            f"the direction has shape {tuple(along.shape)}; expected ({over.size},): "
            "make it with space(model, where).flat(tensors)"
        )
    length = float(along.double().norm())
    if not math.isfinite(length) or length == 0:
        raise CurvatureError(
            f"the direction has length {length}; expected one that is finite and not "
            "zero: at a stationary point there is no update to measure along"
        )
    return along.to(dtype=over.dtype, device=over.device)


def _first_guess(over: Space, along: Tensor) -> float:
    """The rate that moves the weights by a hundredth of their norm."""
    return 0.01 * (norm_of(over) or 1.0) / float(along.double().norm())


# --- the search -----------------------------------------------------------------


def _bracket(
    rise: Callable[[float], float], guess: float, *, before: _Try | None
) -> tuple[_Try | None, _Try | None]:
    """Two rates around η_c; None in the place of one that was not found."""
    low: _Try | None = None
    high: _Try | None = None
    rate = guess
    for _ in range(MOST_PASSES):
        one = _Try(rate, rise(rate))
        low, high = (low, one) if one.rose else (one, high)
        if low is not None and high is not None:
            break
        rate = _outwards(one, before)
        before = one
    return low, high


def _outwards(one: _Try, before: _Try | None) -> float:
    """The next rate: a little past the parabola's root, else by a fixed factor."""
    factor = 1 / GROWTH if one.rose else GROWTH
    root = None if before is None else _root(one, before)
    if root is None:
        return one.rate * factor
    beyond = root * (1 - _PAST if one.rose else 1 + _PAST)
    farthest = one.rate * factor**4
    inside = min(max(beyond, min(one.rate, farthest)), max(one.rate, farthest))
    return inside if inside != one.rate else one.rate * factor


_PAST = 0.02
"""How far past the expected η_c to try: inside of the default tolerance, and beyond
what rounding does to a root."""


def _root(one: _Try, other: _Try) -> float | None:
    """Where the line through two rises is zero, which is η_c on a parabola."""
    slope = (one.rise - other.rise) / (one.rate - other.rate)
    if not math.isfinite(slope) or slope <= 0:
        return None
    root = one.rate - one.rise / slope
    return root if root > 0 else None


def _narrow(
    rise: Callable[[float], float],
    *,
    low: _Try | None,
    high: _Try | None,
    tolerance: float,
) -> tuple[_Try | None, _Try | None]:
    """Shrink a bracket to the tolerance."""
    slow = False
    for _ in range(MOST_PASSES):
        if low is None or high is None or _width(low, high) <= tolerance:
            break
        width = _width(low, high)
        rate = _inwards(low, high, tolerance=tolerance, halve=slow)
        one = _Try(rate, rise(rate))
        low, high = (low, one) if one.rose else (one, high)
        slow = _width(low, high) > width / 2
    return low, high


def _inwards(low: _Try, high: _Try, *, tolerance: float, halve: bool) -> float:
    """The next rate inside: beside the parabola's root, on the side that is farther.

    Tried first a little on one side of the root and then on the other, a bracket
    around a parabola's root closes to the tolerance in two passes.
    """
    middle = math.sqrt(low.rate * high.rate)
    root = _root(low, high)
    if halve or root is None or not low.rate < root < high.rate:
        return middle
    aside = 0.4 * tolerance * root
    rate = root - aside if root - low.rate > high.rate - root else root + aside
    if root - low.rate <= aside * 1.5:
        rate = root + aside
    elif high.rate - root <= aside * 1.5:
        rate = root - aside
    return rate if low.rate < rate < high.rate else middle


def _width(low: _Try, high: _Try) -> float:
    """Of a bracket, as a share of its upper end."""
    return (high.rate - low.rate) / high.rate


def _estimate(
    low: _Try | None, high: _Try | None, *, tolerance: float, passes: int
) -> Estimate:
    """2/η_c in the middle of 2/high and 2/low; half their distance as the error."""
    method = f"critical rate, {passes} passes"
    if high is not None and (low is None or not low.rise < 0):
        return Estimate(
            2 / high.rate, math.inf, products=0, method=method, converged=False,
            note="the loss rises at the smallest rate that was tried: the direction "
            "does not descend, or the loss is flat up to rounding",
        )  # fmt: skip
    if low is None or high is None:
        assert low is not None
        return Estimate(
            0.0, 2 / low.rate, products=0, method=method, converged=False,
            note=f"the loss does not rise up to a rate of {low.rate:.3g}",
        )  # fmt: skip
    most, least = 2 / low.rate, 2 / high.rate
    met = _width(low, high) <= tolerance
    return Estimate(
        (most + least) / 2, (most - least) / 2, products=0, method=method,
        converged=met, note="" if met else "the passes ran out before the tolerance",
    )  # fmt: skip
