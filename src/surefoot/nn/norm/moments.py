"""Values come in parts, the mean and variance of all of them go out.

Parts are merged as T. Chan, G. Golub and R. LeVeque did (1983): exact, in any order,
and no digits are lost where a mean is large beside its deviation.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from surefoot.nn.norm.across import sum_over_processes
from surefoot.nn.norm.errors import NormError


class Moments(NamedTuple):
    """What is known of values seen so far, in float64 where there is such a thing.

    Attributes:
        total: how many values a feature has, `[1]`.
        mean: of each feature, `[F]`.
        squares: Σ(x - mean)², `[F]`.
    """

    total: Tensor
    mean: Tensor
    squares: Tensor

    def variance(self, *, correction: int = 0) -> Tensor:
        """Σ(x - mean)²/(total - correction), 0 where there are too few values."""
        return self.squares / (self.total - correction).clamp(min=1)


def no_moments(features: int, *, device: torch.device | str | None = None) -> Moments:
    """Those of nothing: what a merge begins with."""
    zeros = torch.zeros(features, dtype=torch.float64, device=device)
    return Moments(zeros.new_zeros(1), zeros, zeros.clone())


def moments_of(values: Tensor, mask: Tensor | None = None) -> Moments:
    """Moments of values `[*, F]`, of those that a mask `[*]` leaves.

    Raises:
        NormError: a mask of another shape, or not of booleans.

    >>> found = moments_of(torch.tensor([[1.0], [2.0], [6.0]]))
    >>> found.mean.item(), found.variance().item()
    (3.0, 4.666666666666667)
    """
    rows = values.detach().double().flatten(0, -2)
    if mask is None:
        total = rows.new_full((1,), len(rows))
        mean = rows.sum(0) / total.clamp(min=1)
        return Moments(total, mean, (rows - mean).square().sum(0))
    if mask.dtype != torch.bool or mask.shape != values.shape[:-1]:
        raise NormError(
            f"a mask {list(mask.shape)} of {mask.dtype} came for values "
            f"{list(values.shape)}; expected {list(values.shape[:-1])} of torch.bool, "
            "True where there is data"
        )
    there = mask.reshape(-1, 1)
    total = there.sum(dtype=rows.dtype).view(1)
    mean = torch.where(there, rows, 0.0).sum(0) / total.clamp(min=1)
    return Moments(total, mean, torch.where(there, rows - mean, 0.0).square().sum(0))


def merged(one: Moments, other: Moments) -> Moments:
    """Moments of the values of both.

    n = n₁ + n₂, μ = μ₁ + (μ₂ - μ₁)n₂/n, S = S₁ + S₂ + (μ₂ - μ₁)²n₁n₂/n

    >>> left, right = torch.tensor([[1.0], [2.0]]), torch.tensor([[6.0]])
    >>> both = merged(moments_of(left), moments_of(right))
    >>> both.mean.item(), round(both.variance().item(), 12)
    (3.0, 4.666666666667)
    """
    total = one.total + other.total
    share = other.total / total.clamp(min=1)
    apart = other.mean - one.mean
    return Moments(
        total,
        one.mean + apart * share,
        one.squares + other.squares + apart.square() * one.total * share,
    )


def of_all_processes(own: Moments) -> Moments:
    """The same values seen by every process of the default group, as one."""
    total = sum_over_processes(own.total)
    mean = sum_over_processes(own.mean * own.total) / total.clamp(min=1)
    moved = own.squares + (own.mean - mean).square() * own.total
    return Moments(total, mean, sum_over_processes(moved))
