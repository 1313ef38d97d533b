"""Blocks that pass on what they are given, and by how much others do not."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import torch
from torch import Tensor, nn

from surefoot.nn.init.depth_scaled import zero_last_
from surefoot.nn.init.errors import GrowthError
from surefoot.nn.init.residual import Residual
from surefoot.restore.random_streams import repeated
from surefoot.restore.still import still

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def residual_block(branch: nn.Module) -> Residual:
    """A block x + branch(x) whose last layer is zero: the identity, bit for bit.

    Raises:
        InitError: the branch has no layer with weights.

    >>> branch = nn.Sequential(nn.Linear(4, 9), nn.GELU(), nn.Linear(9, 4))
    >>> block = residual_block(branch)
    >>> identity_error(block, torch.randn(8, 4))
    0.0
    """
    zero_last_(branch)
    return Residual(branch)


def identity_block(like: nn.Module, activation: nn.Module | None = None) -> nn.Module:
    """A layer with as many outputs as another one, drawn as the identity.

    Net2DeeperNet (Chen et al. 2016): behind a ReLU, with a ReLU, it is exact.

    Args:
        like: a linear layer or a convolution with odd kernels and one group.
        activation: what follows it.

    Raises:
        GrowthError: no identity of this kind exists.

    >>> block = identity_block(nn.Conv2d(3, 8, 3), nn.ReLU())
    >>> identity_error(block, torch.rand(2, 8, 5, 5))
    0.0
    """
    layer = _identity_layer(like)
    bias = dict(layer.named_parameters()).get("bias")
    if bias is not None:
        nn.init.zeros_(bias)
    return layer if activation is None else nn.Sequential(layer, activation)


def _identity_layer(like: nn.Module) -> nn.Module:
    weight = getattr(like, "weight", None)
    if isinstance(like, nn.Linear):
        size, has_bias = like.out_features, like.bias is not None  # pyright: ignore[reportUnnecessaryComparison]
        layer = nn.Linear(size, size, has_bias, like.weight.device, like.weight.dtype)
        nn.init.eye_(layer.weight)
        return layer
    if isinstance(like, CONVOLUTIONS) and all(k % 2 for k in like.kernel_size):
        layer = type(like)(
            like.out_channels,
            like.out_channels,
            like.kernel_size,  # pyright: ignore[reportArgumentType]
            padding="same",
            bias=like.bias is not None,
            device=like.weight.device,
            dtype=like.weight.dtype,
        )
        nn.init.dirac_(layer.weight)
        return layer
    kind = f"{type(like).__name__} {tuple(getattr(weight, 'shape', ()))}"
    raise GrowthError(
        f"{kind} came; expected a linear layer, or a convolution with odd kernels, "
        "which have an identity of their kind; use residual_block for others"
    )


@torch.no_grad()
def identity_error(block: nn.Module, inputs: Tensor) -> float:
    """The largest change that a block makes to what it is given, in either mode.

    The block stays as it is, bit for bit.

    Raises:
        GrowthError: it changes the shape, or takes no such input.
    """
    return max(_change(block, inputs, mode) for mode in (False, True))


def largest_change(before: Tensor, after: Tensor) -> float:
    """The largest |after - before|; infinite where one is NaN or of another size."""
    if before.shape != after.shape:
        return inf
    # Equal infinities, as of masked scores, do not differ.
    change = torch.where(before == after, 0.0, (after - before).abs())
    worst = change.nan_to_num(nan=inf, posinf=inf).max() if change.numel() else 0.0
    return float(worst)


def _change(block: nn.Module, inputs: Tensor, training: bool) -> float:
    with still(block, training=training), torch.no_grad(), repeated(0):
        try:
            out = block(inputs)
        except RuntimeError as error:
            raise GrowthError(
                f"{named(block)} cannot take {tuple(inputs.shape)}: {error}"
            ) from error
    if not isinstance(out, Tensor) or out.shape != inputs.shape:
        shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise GrowthError(
            f"{named(block)} takes {tuple(inputs.shape)} to {shape}; expected a block "
            "that keeps the shape"
        )
    return largest_change(inputs, out)


def refuse_unless_identity(
    block: nn.Module, where: str, seen: Sequence[Tensor]
) -> None:
    """Refuse a block that changes anything of what passes at a place.

    Raises:
        GrowthError: names the block, the first of its parts that is to blame, and the
            change that was measured.
    """
    change = max((identity_error(block, one) for one in seen), default=0.0)
    if change == 0.0:
        return
    raise GrowthError(
        f"{named(block)} behind {where!r} changes what passes by up to {change:.2g}"
        f"{_blame(block, seen)}; expected the identity: residual_block(branch), whose "
        "last layer starts at zero, or identity_block(layer, nn.ReLU()) behind a ReLU"
    )


def _blame(block: nn.Module, seen: Sequence[Tensor]) -> str:
    """The first part of a sequence that is not the identity for what it is given."""
    if not isinstance(block, nn.Sequential):
        return ""
    for place, part in enumerate(block):
        worst = 0.0
        for one in seen:
            worst = max(worst, identity_error(part, one))
        if worst != 0.0:
            return f" (its part {place}, {type(part).__name__}, by {worst:.2g})"
    return ""


def named(block: nn.Module) -> str:
    """A block in words: its class, and those of its parts."""
    parts = ", ".join(type(part).__name__ for part in block.children())
    return f"{type(block).__name__}({parts})" if parts else type(block).__name__
