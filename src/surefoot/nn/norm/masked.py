"""Padded values and a mask come in, what is normalised over the data alone goes out.

Batch, group and instance norm differ only in which values share a mean and a variance.
Of x with m values that are not masked:

    μ = Σx/m,  σ² = Σ(x - μ)²/m,  y = γ(x - μ)/√(σ² + ε) + β

and y = 0 where the mask is False, whatever was there, also NaN. Without any value,
everything is 0. Torch has no such layers: https://github.com/pytorch/pytorch/issues/81985.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from surefoot.nn.norm.across import sum_over_processes
from surefoot.nn.norm.errors import NormError
from surefoot.nn.norm.masks import check_mask


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

    >>> x = torch.tensor([[[1.0, 2, 3, 9]], [[4.0, 5, 9, 9]]])
    >>> found = masked_batch_norm(x, x[:, 0] < 9)
    >>> found.mean.item(), round(found.variance.item(), 6), found.valid.item()
    (3.0, 2.0, 5.0)
    """
    check_mask(values, mask)
    shared = _Shared(values.shape[1], over_batch=True, synced=synced, eps=eps)
    out, *about = _normalised(values, mask, weight=weight, bias=bias, shared=shared)
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
    shared = _Shared(groups, over_batch=False, synced=False, eps=eps)
    return _normalised(values, mask, weight=weight, bias=bias, shared=shared)[0]


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


@dataclass(frozen=True, slots=True)
class _Shared:
    """Which values share statistics: a group of channels, in one sample or in all."""

    groups: int
    over_batch: bool
    synced: bool
    eps: float

    def total(self, sums: Tensor) -> Tensor:
        """Sums of samples and groups `[N, G]` over what shares statistics."""
        if not self.over_batch:
            return sums
        total = sums.sum(0, keepdim=True)
        return sum_over_processes(total) if self.synced else total

    def grouped(self, values: Tensor) -> Tensor:
        """Values `[N, C, L]` as `[N, G, C/G, L]`, parameters `[C]` as `[G, C/G, 1]`."""
        if values.dim() == 1:
            return values.view(self.groups, -1, 1)
        return values.unflatten(1, (self.groups, -1))


def _normalised(
    values: Tensor,
    mask: Tensor,
    *,
    weight: Tensor | None,
    bias: Tensor | None,
    shared: _Shared,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What comes out, the means, the variances and the counts of what shares them."""
    exact = values if values.dtype == torch.float64 else values.float()
    flat = exact.reshape(*values.shape[:2], -1)
    parts = (flat, mask.reshape(len(mask), -1), weight, bias, shared)
    # What traces or transforms sees through plain operations only.
    plain = torch.compiler.is_compiling() or _transformed()
    out, *about = _plain(*parts) if plain else _Normalised.apply(*parts)  # pyright: ignore[reportGeneralTypeIssues]
    mean, variance, count = (one.detach() for one in about)
    return out.reshape(values.shape).to(values.dtype), mean, variance, count


def _transformed() -> bool:
    """Whether torch.func is at work."""
    return torch._C._are_functorch_transforms_active()  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]


def _plain(
    values: Tensor,
    mask: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    shared: _Shared,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The formula, in operations that can be differentiated as often as one likes."""
    x, there = shared.grouped(values), mask[:, None, None]
    x = torch.where(there, x, 0.0)
    count = _count(mask, x, shared)
    mean = shared.total(x.sum((2, 3))) / count.clamp(min=1)
    x = torch.where(there, x - mean[..., None, None], 0.0)
    variance = shared.total((x * x).sum((2, 3))) / count.clamp(min=1)
    x = x * (variance + shared.eps).rsqrt()[..., None, None]
    if weight is not None:
        x = x * shared.grouped(weight)
    if bias is not None:
        x = torch.where(there, x + shared.grouped(bias), 0.0)
    return x.flatten(1, 2), mean, variance, count


def _count(mask: Tensor, values: Tensor, shared: _Shared) -> Tensor:
    """How many values share statistics: `[N, 1]`, or `[1, 1]` over a batch."""
    positions = mask.sum(1, keepdim=True, dtype=values.dtype)
    return shared.total(positions * values.shape[2])


class _Normalised(torch.autograd.Function):
    """The same in place: no more memory than torch's own layers, and their speed.

    Memory that is touched first costs ten times what a pass over it does, so that
    there is one new tensor forward and one backward. Masks are applied to the bits:
    that is faster than a choice, and erases NaN, which a product would not.
    """

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, mask: Tensor, *rest: Any
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        weight, bias, shared = rest
        x, bits = shared.grouped(values), _bits(mask, values)
        y = (_as_bits(x) & bits).view(x.dtype)
        count = _count(mask, x, shared)
        mean = shared.total(y.sum((2, 3))) / count.clamp(min=1)
        _erase_(y.sub_(mean[..., None, None]), bits)
        norm = torch.linalg.vector_norm(y, dim=(2, 3))
        variance = shared.total(norm * norm) / count.clamp(min=1)
        inverse = (variance + shared.eps).rsqrt()
        y.mul_(_scale(inverse, weight, shared))
        if bias is not None:
            _erase_(y.add_(shared.grouped(bias)), bits)
        ctx.save_for_backward(values, mask, weight, bias, mean, inverse, count)
        ctx.shared = shared
        ctx.mark_non_differentiable(mean, variance, count)
        return y.view(values.shape), mean, variance, count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            return _differentiable(ctx, gradients[0])
        values, mask, weight, _, mean, inverse, count = ctx.saved_tensors
        shared: _Shared = ctx.shared
        x, given = shared.grouped(values), shared.grouped(gradients[0])
        bits, mean4 = _bits(mask, values), mean[..., None]
        g = (_as_bits(given) & bits).view(x.dtype)
        direct = g.sum(3)  # [N, G, C/G]
        _erase_(g.mul_(x), bits)
        along = (g.sum(3) - mean4 * direct) * inverse[..., None]
        # dx = (γg - Σγg/m - x̂ Σγgx̂/m)/σ, with x̂ = (x - μ)/σ
        factor = -inverse / count.clamp(min=1)
        slope = shared.total(_weighted(along, weight, shared)) * factor * inverse
        level = shared.total(_weighted(direct, weight, shared)) * factor - slope * mean
        torch.mul(given, _scale(inverse, weight, shared), out=g)
        g.addcmul_(x, slope[..., None, None])
        _erase_(g.add_(level[..., None, None]), bits)
        for_weight = along.sum(0).flatten() if ctx.needs_input_grad[2] else None
        for_bias = direct.sum(0).flatten() if ctx.needs_input_grad[3] else None
        return g.view(values.shape), None, for_weight, for_bias, None


def _differentiable(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    """The backward pass of the plain formula, to be differentiated again."""
    values, mask, weight, bias, *_ = ctx.saved_tensors
    # Views, so that what one was computed from is not followed from another.
    x: Tensor = values.view_as(values)
    w, b = (None if one is None else one.view_as(one) for one in (weight, bias))
    out = _plain(x, mask, w, b, ctx.shared)[0]
    wanted = [ctx.needs_input_grad[at] for at in (0, 2, 3)]
    asked: list[Any] = [t for t, want in zip((x, w, b), wanted, strict=True) if want]
    found = iter(torch.autograd.grad(out, asked, gradient, create_graph=True))
    for_x, for_w, for_b = (next(found) if want else None for want in wanted)
    return for_x, None, for_w, for_b, None


def _as_bits(values: Tensor) -> Tensor:
    return values.view(torch.int32 if values.element_size() == 4 else torch.int64)


def _bits(mask: Tensor, values: Tensor) -> Tensor:
    """A mask as all bits or none, `[N, 1, 1, L]`, of the size of a value."""
    kind = torch.int32 if values.element_size() == 4 else torch.int64
    return mask.to(kind).neg_()[:, None, None]


def _erase_(values: Tensor, bits: Tensor) -> None:
    _as_bits(values).bitwise_and_(bits)


def _scale(inverse: Tensor, weight: Tensor | None, shared: _Shared) -> Tensor:
    """γ/σ, to be multiplied with `[N, G, C/G, L]`."""
    scale = inverse[..., None, None]
    return scale if weight is None else scale * shared.grouped(weight)


def _weighted(sums: Tensor, weight: Tensor | None, shared: _Shared) -> Tensor:
    """Sums `[N, G, C/G]` of what is multiplied by γ, over the channels of a group."""
    if weight is None:
        return sums.sum(2)
    return (sums * shared.grouped(weight)[..., 0]).sum(2)
