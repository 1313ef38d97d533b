"""Branches of a deep stack come in; weights small enough for their number go out.

L branches of unit gain add up to a signal of variance L. Zero γ and Fixup start each
branch at zero by its last layer, DeepNorm weighs shortcut and branch against each
other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from surefoot.nn.init.errors import InitError

QUERY_OR_KEY = ("q", "k", "query", "key", "q_proj", "k_proj")
"""Names of layers that DeepNorm leaves at gain 1."""

ROW_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


class DeepNorm(NamedTuple):
    """What a shortcut is multiplied by, and the gain of the branches' weights."""

    alpha: float
    beta: float


def deepnorm(n: int) -> DeepNorm:
    """α = (2N)^¼ and β = (8N)^-¼ for N layers of an encoder or a decoder (Wang 2022).

    >>> alpha, beta = deepnorm(24)
    >>> f"{alpha:.4f} {beta:.4f}"
    '2.6321 0.2686'

    Raises:
        InitError: `n` is below 1.
    """
    if n < 1:
        raise InitError(f"n={n} came; expected the number of layers, 1 or more")
    return DeepNorm((2 * n) ** 0.25, (8 * n) ** -0.25)


@torch.no_grad()
def deepnorm_(
    layer: nn.Module, n: int, *, generator: torch.Generator | None = None
) -> int:
    """Draw the weights of a transformer's layers as DeepNorm wants them, biases zero.

    Xavier normal weights: gain 1 for queries and keys, β for values, output projections
    and feed-forward layers. Attention is known as `nn.MultiheadAttention`, or by layers
    named q, k, query, key, q_proj or k_proj. The shortcut's α is `DeepNormResidual`'s.

    Args:
        layer: one layer, or a stack of them.
        n: how many layers the stack has.
        generator: where the draws come from.

    Returns:
        How many matrices were drawn with gain β.

    Raises:
        InitError: `n` is below 1, or there is no matrix to draw.
    """
    beta = deepnorm(n).beta
    count = 0
    for name, module in layer.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            parts = _attention(module, beta)
        elif isinstance(module, nn.Linear):
            lower = name.rpartition(".")[2] in QUERY_OR_KEY
            parts = [(module.weight, 1.0 if lower else beta)]
        else:
            continue
        for weight, scale in parts:
            nn.init.xavier_normal_(weight, scale, generator=generator)
            count += scale == beta
        for key, bias in module.named_parameters(recurse=False):
            if "bias" in key:
                bias.zero_()
    if not count:
        raise InitError(
            f"{type(layer).__name__} came without nn.Linear or nn.MultiheadAttention; "
            "expected a transformer's layer"
        )
    return count


def _attention(
    module: nn.MultiheadAttention, beta: float
) -> list[tuple[Tensor, float]]:
    """Query, key and value matrices, each with its gain; the output is a Linear."""
    if module.in_proj_weight is not None:  # pyright: ignore[reportUnnecessaryComparison]
        query, key, value = module.in_proj_weight.chunk(3)
    else:
        query, key, value = (
            module.get_parameter(f"{name}_proj_weight") for name in ("q", "k", "v")
        )
    return [(query, 1.0), (key, 1.0), (value, beta)]


# --- branches that start at zero ------------------------------------------------


def weighted_layers(branch: nn.Module) -> dict[str, nn.Module]:
    """The modules that multiply by a matrix of their own, by name, as registered."""
    return {
        name: module
        for name, module in branch.named_modules()
        if any(weight.dim() >= 2 for weight in module.parameters(recurse=False))
        and not isinstance(module, ROW_NORMS)
    }


def norms(branch: nn.Module) -> dict[str, nn.Module]:
    """The normalisations with a γ, by name, as registered."""
    return {
        name: module
        for name, module in branch.named_modules()
        if isinstance(getattr(module, "weight", None), nn.Parameter)
        and (hasattr(module, "running_mean") or isinstance(module, ROW_NORMS))
    }


@torch.no_grad()
def zero_gamma_(branch: nn.Module) -> str:
    """Set γ and β of the last normalisation of a branch to zero (Goyal et al. 2017).

    x + branch(x) is then the identity, bit for bit.

    Args:
        branch: what is added to the shortcut, or its last normalisation itself, as
            where a block of your own registers a norm of the shortcut last.

    Returns:
        The name of the normalisation; "" for the branch itself.

    Raises:
        InitError: the branch holds no normalisation with a γ.

    >>> block = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    >>> zero_gamma_(block)
    '1'
    """
    found = norms(branch)
    if not found:
        raise InitError(
            f"{type(branch).__name__} came without a normalisation that has a γ; "
            "expected one with affine=True; use zero_last_ for the last layer itself"
        )
    name, module = list(found.items())[-1]
    for weight in module.parameters(recurse=False):
        weight.zero_()
    return name


@torch.no_grad()
def zero_last_(branch: nn.Module) -> str:
    """Set the last layer of a branch to zero, bias too: x + branch(x) is the identity.

    The first update moves that layer only: until then no gradient reaches those before
    it.

    Returns:
        The name of the layer; "" for the branch itself.

    Raises:
        InitError: the branch holds no layer with a matrix.
    """
    name, module = list(_layers(branch).items())[-1]
    for weight in module.parameters(recurse=False):
        weight.zero_()
    return name


def fixup_factor(branches: int, layers: int) -> float:
    """L^(-1/(2m - 2)) for L branches of m layers (Zhang, Dauphin & Ma 2019).

    >>> f"{fixup_factor(18, 2):.4f}"
    '0.2357'

    Raises:
        InitError: there is no branch, or a branch has fewer than two layers.
    """
    if branches < 1 or layers < 2:
        raise InitError(
            f"{branches} branches of {layers} layers came; expected 1 branch or more, "
            "each of two layers or more, as Fixup scales all layers but the last"
        )
    return branches ** (-1 / (2 * layers - 2))


@torch.no_grad()
def fixup_(branches: Sequence[nn.Module]) -> tuple[float, ...]:
    """Scale the branches of a residual network so that it trains without norms.

    The last layer of each becomes zero, the weights of the others are multiplied by
    L^(-1/(2m - 2)). Draw the weights before, with `nn.init.kaiming_normal_`. Fixup also
    wants a learned number before each layer and a multiplier at each branch's end:
    `SkipInit(1.0)`.

    Args:
        branches: all branches of the network, in any order; layers as registered.

    Returns:
        What the layers of each branch were multiplied by.

    Raises:
        InitError: none came, or one has fewer than two layers with weights.
    """
    if not branches:
        raise InitError("no branch came; expected all branches of a network")
    layers = [_layers(branch) for branch in branches]
    factors = tuple(fixup_factor(len(branches), len(one)) for one in layers)
    for found, factor in zip(layers, factors, strict=True):
        *inner, last = found.values()
        for module in inner:
            for weight in module.parameters(recurse=False):
                weight.mul_(factor if weight.dim() >= 2 else 1.0)
        for weight in last.parameters(recurse=False):
            weight.zero_()
    return factors


def _layers(branch: nn.Module) -> dict[str, nn.Module]:
    found = weighted_layers(branch)
    if not found:
        raise InitError(
            f"{type(branch).__name__} came without a layer that has weights; expected "
            "a branch with linear layers or convolutions"
        )
    return found
