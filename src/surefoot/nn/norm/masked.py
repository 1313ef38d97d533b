"""Padded values and a mask come in, what is normalised over the data alone goes out.

Batch, group and instance norm differ only in which values share a mean and a variance.
Of x with m values that are not masked:

    μ = Σx/m,  σ² = Σ(x - μ)²/m,  y = γ(x - μ)/√(σ² + ε) + β

and y = 0 where the mask is False, whatever was there, also NaN. Without any value,
everything is 0. Torch has no such layers: https://github.com/pytorch/pytorch/issues/81985.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from surefoot.nn.norm.errors import NormError
from surefoot.nn.norm.masks import check_mask
from surefoot.nn.norm.shared import Shared, normalised


class BatchNormed(NamedTuple):
    """What a batch norm made, and of what.

    `mean` and `variance` (divided by the count) have shape `[C]`, `valid` has `[1]`:
    how many values a channel has that are not masked, in all processes.
    """

    values: Tensor
    mean: Tensor
    variance: Tensor
    valid: Tensor


def masked_batch_norm(
    values: Tensor,
    mask: Tensor,
    *,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    synced: bool = False,
) -> BatchNormed:
    """Batch norm over the values that are not masked, one mean a channel.

    Args:
        values: `[N, C, *]`; statistics are computed in float32 or better.
        mask: booleans `[N, *]`, True where there is data.
        weight: γ `[C]`.
        bias: β `[C]`.
        eps: ε, as of torch (Ioffe & Szegedy 2015, arXiv:1502.03167).
        synced: over all processes of the default group, weighted by their counts.

    Raises:
        NormError: a mask of another shape or type.

    >>> import torch
    >>> x = torch.tensor([[[1.0, 2, 3, 9]], [[4.0, 5, 9, 9]]])
    >>> found = masked_batch_norm(x, x[:, 0] < 9)
    >>> found.mean.item(), round(found.variance.item(), 6), found.valid.item()
    (3.0, 2.0, 5.0)
    """
    check_mask(values, mask)
    shared = Shared(values.shape[1], over_batch=True, synced=synced, eps=eps)
    out, *about = normalised(values, mask, weight=weight, bias=bias, shared=shared)
    mean, variance, count = (one.flatten() for one in about)
    return BatchNormed(out, mean, variance, count)


def masked_group_norm(
    values: Tensor,
    mask: Tensor,
    *,
    groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Group norm of each sample over its own values that are not masked.

    Adding padding to a sample changes nothing, which it does with torch's group norm.
    `groups` as of `torch.nn.functional.group_norm` (Wu & He 2018, arXiv:1803.08494);
    the rest as of `masked_batch_norm`.

    Raises:
        NormError: a mask of another shape or type, groups that do not divide channels.
    """
    check_mask(values, mask)
    check_groups(groups, values.shape[1])
    shared = Shared(groups, over_batch=False, synced=False, eps=eps)
    return normalised(values, mask, weight=weight, bias=bias, shared=shared)[0]


def masked_instance_norm(
    values: Tensor,
    mask: Tensor,
    *,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Instance norm: each channel of each sample over its values that are not masked.

    As `masked_group_norm` with as many groups as channels.

    Raises:
        NormError: a mask of another shape or type.
    """
    groups = values.shape[1] if values.dim() > 1 else 1
    return masked_group_norm(
        values, mask, groups=groups, weight=weight, bias=bias, eps=eps
    )


def check_groups(groups: int, channels: int) -> None:
    """That a number of groups divides one of channels.

    Raises:
        NormError: it does not.
    """
    if groups < 1 or channels % groups:
        near = [g for g in range(1, channels + 1) if channels % g == 0]
        raise NormError(
            f"{groups} groups came for {channels} channels; expected a number that "
            f"divides {channels}: {', '.join(map(str, near))}"
        )
