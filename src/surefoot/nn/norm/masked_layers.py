"""Masked batch, group and instance norm as layers, in the place of torch's own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from surefoot.nn.norm.errors import NormError
from surefoot.nn.norm.masked import (
    BatchNormed,
    check_groups,
    masked_batch_norm,
    masked_group_norm,
)
from surefoot.nn.norm.masks import check_mask


class _MaskedBatchNorm(nn.modules.batchnorm._BatchNorm):  # pyright: ignore[reportPrivateUsage]
    """What the masked batch norms of all dimensions share."""

    def __init__(self, num_features: int, *, synced: bool = False, **of: Any) -> None:
        super().__init__(num_features, **of)
        self.synced = synced

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise `[N, C, *]` over what a mask `[N, *]` leaves; 0 elsewhere."""
        if mask is None and not self.synced:
            return super().forward(input)
        self._check_input_dim(input)
        if mask is None:
            mask = input.new_ones((len(input), *input.shape[2:]), dtype=torch.bool)
        check_mask(input, mask)
        if not self.training and self.running_mean is not None:
            return self._evaluated(input, mask)
        if input.numel() == input.shape[1] and not self.synced:
            raise NormError(
                f"one value a channel came, {list(input.shape)}, in training mode; a "
                "variance needs two: use a larger batch, eval(), or a group norm"
            )
        found = masked_batch_norm(
            input, mask, weight=self.weight, bias=self.bias, eps=self.eps,
            synced=self.synced,
        )  # fmt: skip
        if self.training and self.running_mean is not None:
            self._follow(found)
        return found.values

    def _evaluated(self, values: Tensor, mask: Tensor) -> Tensor:
        there = mask.unsqueeze(1)
        out = functional.batch_norm(
            torch.where(there, values, 0.0), self.running_mean, self.running_var,
            self.weight, self.bias, eps=self.eps,
        )  # fmt: skip
        return torch.where(there, out, 0.0)

    @torch.no_grad()
    def _follow(self, found: BatchNormed) -> None:
        """Move the running statistics; fewer than two values leave them as they are."""
        mean, variance, batches = (
            self.running_mean,
            self.running_var,
            self.num_batches_tracked,
        )
        assert mean is not None
        assert variance is not None
        assert batches is not None
        enough = found.valid[0] > 1
        batches.add_(enough)
        rate = 1 / batches.clamp(min=1) if self.momentum is None else self.momentum
        rate = (enough * rate).to(mean.dtype)
        unbiased = found.variance * (found.valid / (found.valid - 1).clamp(min=1))
        mean.lerp_(found.mean.to(mean.dtype), rate)
        variance.lerp_(unbiased.to(variance.dtype), rate)

    def extra_repr(self) -> str:
        """The settings."""
        return super().extra_repr() + (", synced=True" if self.synced else "")


class MaskedBatchNorm1d(_MaskedBatchNorm):
    """`nn.BatchNorm1d` over the data of padded sequences alone.

    y = γ(x - μ)/√(σ² + ε) + β with mean and variance over what the mask leaves, and
    y = 0 where it is False, so that padding never matters: neither how much of it there
    is nor what it holds. A sample without data adds nothing; a batch of fewer than two
    values a channel gives β and leaves the running statistics as they are.

    Shapes: input `[N, C]` or `[N, C, L]`, mask `[N]` or `[N, L]`, booleans. Without a
    mask it is `nn.BatchNorm1d`, whose state dict it shares.

    Args:
        num_features: C.
        synced: statistics over all processes, weighted by how many values each has.
        of: `eps` (1e-5), `momentum` (0.1, or None for the mean of all batches),
            `affine`, `track_running_stats`, `device`, `dtype`, as of `nn.BatchNorm1d`.

    Raises:
        NormError: a mask of another shape or type; one value a channel in training.

    After C. Laurent et al. 2016 (arXiv:1510.01378), who left out padded frames.

    >>> from surefoot.nn.norm import lengths_to_mask
    >>> norm = MaskedBatchNorm1d(1, momentum=1.0)
    >>> x = torch.tensor([[[1.0, 2, 3, 0]], [[4.0, 5, 0, 0]]])
    >>> _ = norm(x, lengths_to_mask(torch.tensor([3, 2]), 4))
    >>> norm.running_mean.item(), norm.running_var.item()
    (3.0, 2.5)
    """

    def _check_input_dim(self, input: Tensor) -> None:
        _check_dimensions(input, 2, 3)


class MaskedBatchNorm2d(_MaskedBatchNorm):
    """`nn.BatchNorm2d` over the data of padded maps alone.

    As `MaskedBatchNorm1d`, with input `[N, C, H, W]` and mask `[N, H, W]`.

    >>> norm = MaskedBatchNorm2d(4)
    >>> norm(torch.randn(2, 4, 5, 6), torch.ones(2, 5, 6, dtype=torch.bool)).shape
    torch.Size([2, 4, 5, 6])
    """

    def _check_input_dim(self, input: Tensor) -> None:
        _check_dimensions(input, 4, 4)


class MaskedGroupNorm(nn.GroupNorm):
    """`nn.GroupNorm` of each sample over its own data alone.

    Padding never matters, which with `nn.GroupNorm` it does: zeros that are appended
    move mean and variance. A sample without data gives 0.

    Shapes: input `[N, C, *]`, mask `[N, *]`, booleans. Without a mask it is
    `nn.GroupNorm`, whose arguments and state dict it shares.

    Raises:
        NormError: a mask of another shape or type; groups that do not divide channels.

    >>> norm = MaskedGroupNorm(2, 4)
    >>> x, mask = torch.randn(1, 4, 3), torch.ones(1, 3, dtype=torch.bool)
    >>> longer = torch.nn.functional.pad(x, (0, 5))
    >>> out = norm(longer, torch.nn.functional.pad(mask, (0, 5)))
    >>> torch.allclose(out[..., :3], norm(x, mask), atol=1e-6)
    True
    """

    def __init__(self, num_groups: int, num_channels: int, **of: Any) -> None:
        check_groups(num_groups, num_channels)
        super().__init__(num_groups, num_channels, **of)

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise `[N, C, *]` over what a mask `[N, *]` leaves; 0 elsewhere."""
        if mask is None:
            return super().forward(input)
        return masked_group_norm(
            input, mask, groups=self.num_groups, weight=self.weight, bias=self.bias,
            eps=self.eps,
        )  # fmt: skip


class MaskedInstanceNorm(MaskedGroupNorm):
    """Each channel of each sample over its own data alone, in any dimension.

    `nn.InstanceNorm1d` and its kin without running statistics. Shapes: input
    `[N, C, *]`, mask `[N, *]`, booleans. A channel with one value gives β.

    Args:
        num_features: C.
        of: `eps` (1e-5), `affine` (False, as of `nn.InstanceNorm1d`), `device`,
            `dtype`.

    Raises:
        NormError: a mask of another shape or type.

    >>> MaskedInstanceNorm(8)
    MaskedInstanceNorm(8, eps=1e-05, affine=False)
    """

    def __init__(self, num_features: int, *, affine: bool = False, **of: Any) -> None:
        super().__init__(num_features, num_features, affine=affine, **of)

    def extra_repr(self) -> str:
        """The settings."""
        return f"{self.num_channels}, eps={self.eps}, affine={self.affine}"


def _check_dimensions(values: Tensor, least: int, most: int) -> None:
    if not least <= values.dim() <= most:
        shapes = {2: "[N, C]", 3: "[N, C, L]", 4: "[N, C, H, W]"}
        wanted = " or ".join(shapes[n] for n in range(least, most + 1))
        raise NormError(f"values {list(values.shape)} came; expected {wanted}")
