"""A function of one number comes in, its mean over a normal distribution goes out.

Gauss-Hermite rules take no notice of kinks: for the slope of ReLU one with 20 points is
right by symmetry, for that of a shifted ReLU it is wrong in the second digit. Here the
line is cut where the function breaks, so that what is piecewise smooth is integrated to
rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from surefoot.nn.flow.errors import FlowError

NODES = 16
"""Points of a Gauss-Legendre rule on each piece: exact to degree 31."""
REACH = 9.0
"""Standard deviations: beyond them lies 2e-19 of the mass."""
DETAIL = 0.25
"""Width of a piece near zero, where activations bend, in units of their input."""
BENDS = 8.0
"""Activations bend between -8 and 8; further out a piece is one deviation wide."""
ROUNDING = 1e-14
DEEPEST = 60
"""Halvings of a piece with a jump: what is left has the width of a rounding error."""

Function = Callable[[Tensor], Tensor]


def gaussian_mean(function: Function, *, std: float = 1.0, mean: float = 0.0) -> Tensor:
    """E f(z) for z ~ N(mean, std²), to about 1e-13, also where f jumps.

    Args:
        function: elementwise, from float64 `[n]` to `[n]` or to `[k, n]` for several
            functions at once.
        std: of the input; 0 gives f(mean).
        mean: of the input.

    Returns:
        The mean, float64, shape `[]` or `[k]`.

    Raises:
        FlowError: `std` is negative or not finite, or the function is not finite.

    >>> round(gaussian_mean(torch.relu).item(), 12)  # 1/√(2π)
    0.398942280401
    >>> round(gaussian_mean(lambda z: (z > 0.3).double(), mean=0.3).item(), 12)
    0.5
    """
    if not (math.isfinite(std) and std >= 0 and math.isfinite(mean)):
        raise FlowError(
            f"mean={mean!r}, std={std!r} came; expected finite numbers, std 0 or more"
        )
    if std == 0:
        return function(torch.tensor([mean], dtype=torch.float64))[..., 0]
    edges = _edges(std, mean)
    left, right = edges[:-1], edges[1:]
    value = _piece(function, left, right, std=std, mean=mean)
    total = torch.zeros_like(value[..., 0])
    for _ in range(DEEPEST):
        middle = (left + right) / 2
        halves = [
            _piece(function, *ends, std=std, mean=mean)
            for ends in ((left, middle), (middle, right))
        ]
        finer = halves[0] + halves[1]
        rough = (finer - value).abs() > ROUNDING * finer.abs().clamp_min(1e-2)
        rough = rough.reshape(-1, rough.shape[-1]).any(0)
        total = total + finer[..., ~rough].sum(-1)
        if not rough.any():
            return total
        left = torch.cat([left[rough], middle[rough]])
        right = torch.cat([middle[rough], right[rough]])
        value = torch.cat([half[..., rough] for half in halves], dim=-1)
    return total + value.sum(-1)


def _edges(std: float, mean: float) -> Tensor:
    """Where the line is cut: finely around zero, by deviations around the mean."""
    low, high = mean - REACH * std, mean + REACH * std
    own = np.linspace(low, high, round(2 * REACH) + 1)
    near = np.arange(-BENDS, BENDS + DETAIL, DETAIL)
    near = near[(near > low) & (near < high)]
    return torch.from_numpy(np.unique(np.concatenate([own, near])))


def _piece(
    function: Function, left: Tensor, right: Tensor, *, std: float, mean: float
) -> Tensor:
    """Shares of the mean from pieces `[n]` of the line: `[n]` or `[k, n]`."""
    nodes, weights = map(torch.from_numpy, np.polynomial.legendre.leggauss(NODES))
    half = (right - left)[:, None] / 2
    places = (left + right)[:, None] / 2 + half * nodes
    seen = (places - mean) / std
    density = torch.exp(-seen.square() / 2) / (std * math.sqrt(2 * math.pi))
    values = function(places.reshape(-1))
    if not torch.isfinite(values).all():
        raise FlowError(
            "the function is NaN or infinite for some inputs of this distribution; "
            "expected finite values; lower std"
        )
    shaped = values.reshape(*values.shape[:-1], *places.shape)
    return (shaped * (density * weights * half)).sum(-1)
