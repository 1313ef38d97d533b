"""Values come in, normalised by statistics that some of them share they go out.

All of batch, group and instance norm, masked or not, is this one function, fast where
it runs eagerly, and in plain operations where it is traced or differentiated twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from surefoot.nn.norm.across import sum_over_processes

Correct = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From means and variances `[C]` to r and d `[C]`: the output is γ(x̂ r + d) + β."""


@dataclass(frozen=True, slots=True)
class Shared:
    """Which values share statistics: a group of channels, in one sample or in all."""

    groups: int
    over_batch: bool
    synced: bool
    eps: float

    def total(self, sums: Tensor, *, at: int = 0) -> Tensor:
        """Sums of samples and groups `[N, G]` over what shares statistics.

        `at` is the dimension of samples.
        """
        if not self.over_batch:
            return sums
        total = sums.sum(at, keepdim=True)
        return sum_over_processes(total) if self.synced else total

    def grouped(self, values: Tensor) -> Tensor:
        """Values `[N, C, L]` as `[N, G, C/G, L]`, parameters `[C]` as `[G, C/G, 1]`."""
        if values.dim() == 1:
            return values.view(self.groups, -1, 1)
        return values.unflatten(1, (self.groups, -1))


@dataclass(frozen=True, slots=True)
class _Constants:
    """r and d that were computed before, as a correction."""

    r: Tensor
    d: Tensor

    def __call__(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        return self.r, self.d


def normalised(
    values: Tensor,
    mask: Tensor | None,
    *,
    weight: Tensor | None,
    bias: Tensor | None,
    shared: Shared,
    correct: Correct | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What comes out, and the means, the variances and the counts of what shares them.

    Values are `[N, C, *]`, the mask `[N, *]`. Statistics are at least in float32, have
    shape `[N, G]`, or `[1, G]` over a batch, and no gradient.
    """
    exact = values if values.dtype == torch.float64 else values.float()
    flat = exact.reshape(*values.shape[:2], -1)
    there = mask if mask is None else mask.reshape(len(mask), -1)
    rows = shared.over_batch and flat.shape[2] == 1  # [N, C]: samples are positions
    if rows:
        flat, there = flat.transpose(0, 2), there if there is None else there.mT
    parts = (flat, there, weight, bias, shared, correct)
    # What traces or transforms sees through plain operations only.
    plain = traced()
    out, *about = _plain(*parts) if plain else _InPlace.apply(*parts)  # pyright: ignore[reportGeneralTypeIssues]
    mean, variance, count = (one.detach() for one in about)
    out = out.transpose(0, 2) if rows else out
    return out.reshape(values.shape).to(values.dtype), mean, variance, count


def traced() -> bool:
    """Whether torch.compile or torch.func is at work."""
    if torch.compiler.is_compiling():
        return True
    return torch._C._are_functorch_transforms_active()  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]


def _plain(
    values: Tensor,
    mask: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    shared: Shared,
    correct: Correct | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The formula, in operations that can be differentiated as often as one likes."""
    x = _chosen(shared.grouped(values), mask)
    count = _count(mask, x, shared)
    mean = shared.total(x.sum((2, 3))) / count.clamp(min=1)
    x = _chosen(x - mean[..., None, None], mask)
    variance = shared.total((x * x).sum((2, 3))) / count.clamp(min=1)
    x = x * (variance + shared.eps).rsqrt()[..., None, None]
    if correct is not None:
        r, d = correct(mean.detach()[0], variance.detach()[0])
        weight, bias = affine_of(weight, bias, r=r, d=d)
    if weight is not None:
        x = x * shared.grouped(weight)
    if bias is not None:
        x = _chosen(x + shared.grouped(bias), mask)
    return x.flatten(1, 2), mean, variance, count


def _chosen(values: Tensor, mask: Tensor | None) -> Tensor:
    return values if mask is None else torch.where(mask[:, None, None], values, 0.0)


def affine_of(
    weight: Tensor | None, bias: Tensor | None, *, r: Tensor, d: Tensor
) -> tuple[Tensor, Tensor]:
    """γr and γd + β: with them γ(x̂ r + d) + β is an ordinary affine map."""
    scale, shift = (r, d) if weight is None else (weight * r, weight * d)
    return scale, shift if bias is None else shift + bias


def _count(mask: Tensor | None, values: Tensor, shared: Shared) -> Tensor:
    """How many values share statistics: `[N, 1]`, or `[1, 1]` over a batch."""
    if mask is None:
        positions = values.new_full((len(values), 1), values.shape[3])
    else:
        positions = mask.sum(1, keepdim=True, dtype=values.dtype)
    return shared.total(positions * values.shape[2])


class _InPlace(torch.autograd.Function):
    """The same in place: no more memory than torch's own layers, and their speed.

    Memory that is touched first costs ten times what a pass over it does, so that
    there is one new tensor forward and one backward. Masks are applied to the bits:
    that is faster than a choice, and erases NaN, which a product would not.
    """

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, mask: Tensor | None, *rest: Any
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        weight, bias, shared, correct = rest
        x = shared.grouped(values)
        y = torch.empty_like(x)  # first, or small ones take the place it left last time
        bits = _bits(mask, values)
        count = _count(mask, x, shared)
        least = count.clamp(min=1)
        if bits is None:
            mean = shared.total(x.sum((2, 3))) / least
            torch.sub(x, mean[..., None, None], out=y)
        else:
            torch.bitwise_and(_as_bits(x), bits, out=_as_bits(y))
            mean = shared.total(y.sum((2, 3))) / least
            _erase_(y.sub_(mean[..., None, None]), bits)
        variance = shared.total(_squares(y)) / least
        inverse = (variance + shared.eps).rsqrt()
        r = d = None
        scale, shift = weight, bias
        if correct is not None:
            r, d = correct(mean[0], variance[0])
            scale, shift = affine_of(weight, bias, r=r, d=d)
        gamma = None if scale is None else shared.grouped(scale)
        slope = inverse[..., None, None]
        slope = slope if gamma is None else slope * gamma
        y.mul_(slope)
        if shift is not None:
            _erase_(y.add_(shared.grouped(shift)), bits)
        ctx.save_for_backward(
            values, mask, weight, bias, r, d, bits, gamma, slope, mean, inverse, least
        )
        ctx.shared = shared
        ctx.mark_non_differentiable(mean, variance, count)
        return y.view(values.shape), mean, variance, count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            return _differentiable(ctx, gradients[0])
        saved = ctx.saved_tensors
        values, r, d, bits, gamma, slope, mean, inverse, least = saved[:1] + saved[4:]
        shared: Shared = ctx.shared
        x, given = shared.grouped(values), shared.grouped(gradients[0])
        g = torch.empty_like(x)
        if bits is None:
            direct = given.sum(3)
            torch.mul(given, x, out=g)
        else:
            torch.bitwise_and(_as_bits(given), bits, out=_as_bits(g))
            direct = g.sum(3)
            _erase_(g.mul_(x), bits)
        along = (g.sum(3) - mean[..., None] * direct) * inverse[..., None]
        sums = torch.stack((along, direct))  # [2, N, G, C/G]: Σgx̂ and Σg
        # dx = (γg - Σγg/m - x̂ Σγgx̂/m)/σ, with x̂ = (x - μ)/σ
        weighted = (sums if gamma is None else sums * gamma[..., 0]).sum(3)
        both = shared.total(weighted, at=1) * (inverse / least)
        falls = both[0] * inverse
        torch.mul(given, slope, out=g)
        g.addcmul_(x, falls[..., None, None], value=-1)
        _erase_(g.add_((falls * mean - both[1])[..., None, None]), bits)
        for_weight, for_bias = sums.sum(1).flatten(1)
        if r is not None:
            for_weight = for_weight * r + for_bias * d
        wanted = ctx.needs_input_grad
        return (
            g.view(values.shape), None, for_weight if wanted[2] else None,
            for_bias if wanted[3] else None, None, None,
        )  # fmt: skip


def _differentiable(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    """The backward pass of the plain formula, to be differentiated again."""
    values, mask, weight, bias, r, d, *_ = ctx.saved_tensors
    # Views, so that what one was computed from is not followed from another.
    x: Tensor = values.view_as(values)
    w, b = (None if one is None else one.view_as(one) for one in (weight, bias))
    correct = None if r is None else _Constants(r, d)
    out = _plain(x, mask, w, b, ctx.shared, correct)[0]
    wanted = [ctx.needs_input_grad[at] for at in (0, 2, 3)]
    asked: list[Any] = [t for t, want in zip((x, w, b), wanted, strict=True) if want]
    found = iter(torch.autograd.grad(out, asked, gradient, create_graph=True))
    for_x, for_w, for_b = (next(found) if want else None for want in wanted)
    return for_x, None, for_w, for_b, None, None


def _as_bits(values: Tensor) -> Tensor:
    return values.view(torch.int32 if values.element_size() == 4 else torch.int64)


def _bits(mask: Tensor | None, values: Tensor) -> Tensor | None:
    """A mask as all bits or none, `[N, 1, 1, L]`, of the size of a value."""
    if mask is None:
        return None
    kind = torch.int32 if values.element_size() == 4 else torch.int64
    return mask.to(kind).neg_()[:, None, None]


def _erase_(values: Tensor, bits: Tensor | None) -> None:
    if bits is not None:
        _as_bits(values).bitwise_and_(bits)


def _squares(values: Tensor) -> Tensor:
    """Σx² of groups `[N, G]`, without another tensor where rows lie in memory."""
    if values.stride(3) == 1:
        return torch.linalg.vector_norm(values, dim=(2, 3)).square_()
    return (values * values).sum((2, 3))
