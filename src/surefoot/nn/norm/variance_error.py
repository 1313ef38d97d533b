"""Sizes come in, how well a norm knows its variance goes out.

What a batch, group or layer norm divides by is the variance of a few numbers: with n of
them it is off by √(2/(n - 1)) of itself, by more where they are heavy-tailed or alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from surefoot.nn.norm.errors import NormError

NORMAL = 3.0
"""The kurtosis of normal values."""


def effective_size(n: int, correlation: float) -> float:
    """How many independent values tell as much of the variance as n correlated ones.

    n(1 - ρ²)/(1 + ρ²), for large n, where values k apart correlate by ρ^k: their
    squares do by ρ^2k, and it is squares that are averaged.

    >>> round(effective_size(1024, 0.9))
    107

    Raises:
        NormError: the correlation is not between -1 and 1.
    """
    if not -1 < correlation < 1:
        raise NormError(
            f"correlation={correlation} came; expected that of neighbouring values, "
            "between -1 and 1"
        )
    return n * (1 - correlation**2) / (1 + correlation**2)


def variance_error(n: int, kurtosis: float = NORMAL, correlation: float = 0.0) -> float:
    """Expected relative error of the variance of n values; infinite for a single one.

    √(2/(n - 1)·(1 + ρ²)/(1 - ρ²) + (κ - 3)/n). The first term is exact for independent
    normal values, the others are of first order: few values that are much alike have a
    smaller error than told. Values n of a norm on `[N, C, H, W]`:
    batch norm N·H·W, group norm (C/G)·H·W, layer norm C·H·W (Wu & He 2018,
    arXiv:1803.08494, for the argument).

    Args:
        n: how many values.
        kurtosis: κ = E[(x - μ)⁴]/σ⁴: 3 for normal values, 5.41 for those after a ReLU.
        correlation: ρ of neighbouring values.

    >>> round(variance_error(2), 4), round(variance_error(32), 4)
    (1.4142, 0.254)
    >>> round(variance_error(32, kurtosis=5.41), 3)
    0.374
    >>> round(variance_error(1024, correlation=0.9), 3)
    0.136

    Raises:
        NormError: a kurtosis below 1, which no values have, or a correlation that is
            not between -1 and 1.
    """
    if kurtosis < 1:
        raise NormError(
            f"kurtosis={kurtosis} came; expected 1 or more (3 for normal values: not "
            "the excess)"
        )
    share = effective_size(1, correlation)
    if n < 2:
        return math.inf
    return math.sqrt(2 / (n - 1) / share + (kurtosis - NORMAL) / n)


def crossover_batch(channels: int, groups: int) -> int:
    """The batch size above which a batch norm knows its variance better.

    Both see the same map; a group norm has channels / groups channels of one example,
    a batch norm one channel of all examples.

    >>> crossover_batch(64, 32)
    2
    """
    return channels // groups


@dataclass(frozen=True, slots=True)
class NormOption:
    """A norm, the values that it has for each variance, and the error of these."""

    name: str
    values: int
    error: float


@dataclass(frozen=True, slots=True)
class NormAdvice:
    """What each norm would have, and from which batch size on batch norm is better.

    `refused` says why batch norm cannot be used; "" where it can.
    """

    options: tuple[NormOption, ...]
    batch: int
    crossover_batch: int
    refused: str

    @property
    def choice(self) -> str:
        """Above the crossover batch "batch_norm", up to it "group_norm".

        Layer norm, whose error is the least, is another model: its statistics are
        shared by all channels.
        """
        above = self.batch > self.crossover_batch and not self.refused
        return "batch_norm" if above else "group_norm"

    def error(self, name: str) -> float:
        """The error of the norm of that name."""
        return next(one.error for one in self.options if one.name == name)

    def __str__(self) -> str:
        rows = [f"{o.name:14s} n = {o.values:<8d} ±{o.error:.1%}" for o in self.options]
        told = f"batch norm is better above a batch of {self.crossover_batch}"
        return "\n".join([*rows, self.refused or told, f"choice: {self.choice}"])


def advise_norm(
    channels: int,
    groups: int = 32,
    *,
    batch: int,
    positions: int = 1,
    kurtosis: float = NORMAL,
    correlation: float = 0.0,
) -> NormAdvice:
    """The error of the variance that each norm would have on `[N, C, ...]`.

    Args:
        channels: C.
        groups: of a group norm, 32 as in Wu & He 2018.
        batch: N, on one device.
        positions: H·W of a map, the length of a sequence, 1 for plain features.
        kurtosis: of the values.
        correlation: of neighbouring values.

    >>> print(advise_norm(64, 32, batch=2, positions=49))
    batch_norm     n = 98       ±14.4%
    group_norm     n = 98       ±14.4%
    layer_norm     n = 3136     ±2.5%
    instance_norm  n = 49       ±20.4%
    batch norm is better above a batch of 2
    choice: group_norm

    Raises:
        NormError: a size is not positive, or the groups do not divide the channels.
    """
    for name, size in (("batch", batch), ("positions", positions), ("groups", groups)):
        if size < 1:
            raise NormError(f"{name}={size} came; expected 1 or more")
    if channels < 1 or channels % groups:
        raise NormError(
            f"{channels} channels in {groups} groups came; expected groups that divide "
            "the channels"
        )
    values = {
        "batch_norm": batch * positions,
        "group_norm": channels // groups * positions,
        "layer_norm": channels * positions,
        "instance_norm": positions,
    }
    options = tuple(
        NormOption(name, n, variance_error(n, kurtosis, correlation))
        for name, n in values.items()
    )
    one = "batch norm is refused: one value a channel has no variance"
    refused = one if values["batch_norm"] == 1 else ""
    return NormAdvice(options, batch, crossover_batch(channels, groups), refused)
