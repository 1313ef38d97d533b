"""Weights with gradients come in; each unit's gradient is bounded by its weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from surefoot.gradients.clipping import (
    Clip,
    ClipError,
    positive,
)
from surefoot.gradients.norms import local_part, norm_row, unscaled
from surefoot.gradients.scaling import scale_, shortened
from surefoot.schedules.scheduled import Scheduled, value_at


@torch.no_grad()
def unitwise_clip_(
    parameters: Tensor | Iterable[Tensor],
    clipping: float = 0.01,
    *,
    eps: float = 1e-3,
    scale: float | Tensor | None = None,
) -> None:
    """Adaptive gradient clipping, AGC: ‖g_i‖ ≤ λ·max(‖w_i‖, ε) for each unit i.

    A unit is a row of a matrix, a filter of a convolution, or a whole vector or number
    (Brock et al. 2021, arXiv:2102.06171, eq. 3). The paper leaves the last linear
    layer out: do not pass it.

    Args:
        parameters: whose gradients are clipped in place.
        clipping: λ; 0.01 (ibid., for batches of 4,096; more for smaller ones).
        eps: ε, so that weights of zero can move; 1e-3 (ibid.).
        scale: what the gradients were multiplied by.

    >>> weight = torch.nn.Parameter(torch.ones(1, 4))
    >>> weight.grad = torch.full((1, 4), 5.0)
    >>> unitwise_clip_(weight)
    >>> round(weight.grad.norm().item(), 6)
    0.02

    Raises:
        ClipError: λ or ε is no positive number, or a gradient is sparse.
    """
    positive(clipping, "clipping")
    positive(eps, "eps")
    one = isinstance(parameters, Tensor)
    _clip_all([parameters] if one else list(parameters), clipping, eps=eps, scale=scale)


class UnitwiseClip(Clip):
    """`unitwise_clip_` as a clip: λ may be scheduled, and an optimizer may call it.

    Args:
        clipping: λ; a number or a schedule.
        eps: ε.

    >>> weight = torch.nn.Parameter(torch.ones(1, 4))
    >>> sgd = torch.optim.SGD([weight], lr=1.0)
    >>> handle = UnitwiseClip().attach(sgd)
    >>> weight.grad = torch.full((1, 4), 5.0)
    >>> sgd.step()
    >>> weight.detach()
    tensor([[0.9900, 0.9900, 0.9900, 0.9900]])

    Raises:
        ClipError: λ or ε is no positive number.
    """

    def __init__(
        self, clipping: float | Scheduled = 0.01, *, eps: float = 1e-3
    ) -> None:
        super().__init__()
        positive(clipping, "clipping")
        positive(eps, "eps")
        self.clipping, self.eps = clipping, eps

    def __repr__(self) -> str:
        return f"UnitwiseClip({self.clipping!r}, eps={self.eps:g})"

    def _clip(self, weights: Sequence[Tensor], scale: float | Tensor | None) -> Tensor:
        own = value_at(self.clipping, self.step)
        norms = _clip_all(weights, own, eps=self.eps, scale=scale)
        if not norms:
            return torch.zeros(())
        return torch.linalg.vector_norm(unscaled(norm_row(norms), scale))


def _clip_all(
    weights: Sequence[Tensor],
    clipping: float,
    *,
    eps: float,
    scale: float | Tensor | None,
) -> list[Tensor]:
    """Clip; norms of the gradients as they came go out, in any order and grouping."""
    pairs = [(w.detach(), w.grad.detach()) for w in weights if w.grad is not None]
    _must_have_whole_units([grad for _, grad in pairs])
    vectors = [pair for pair in pairs if pair[0].dim() < 2]
    found = [
        _clip_rows(local_part(w), local_part(g), clipping, eps=eps, scale=scale)
        for w, g in pairs
        if w.dim() > 1
    ]
    if vectors:
        grads = [grad for _, grad in vectors]
        norms = norm_row(grads)
        most = norm_row([weight for weight, _ in vectors]).clamp_(min=eps)
        factor = shortened(torch, unscaled(norms, scale), most.mul_(clipping))
        scale_(grads, factor.numpy() if factor.is_cpu else factor)
        found.append(norms)
    return found


def _clip_rows(
    weight: Tensor,
    grad: Tensor,
    clipping: float,
    *,
    eps: float,
    scale: float | Tensor | None,
) -> Tensor:
    """Scale the rows of one gradient; their norms from before go out."""
    most = _row_norms(weight).clamp_(min=eps).mul_(clipping)
    norms = _row_norms(grad)
    factor = shortened(torch, unscaled(norms, scale), most)
    # On the host a look is cheaper than to multiply by ones.
    if not (factor.is_cpu and bool((factor == 1.0).all())):
        grad.mul_(factor)  # in float32, which half a gradient needs
    return norms


def _row_norms(tensor: Tensor) -> Tensor:
    """2-norm of each row, in float32 at least, to be broadcast."""
    wide = torch.promote_types(tensor.dtype, torch.float32)
    axes = tuple(range(1, tensor.dim()))
    return torch.linalg.vector_norm(tensor, dim=axes, keepdim=True, dtype=wide)


def _must_have_whole_units(grads: Sequence[Tensor]) -> None:
    for grad in grads:
        placements: Any = getattr(grad, "placements", ())
        cut = any(one.is_shard() and not one.is_shard(0) for one in placements)
        if grad.layout is not torch.strided or (grad.dim() > 1 and cut):
            raise ClipError(
                f"a gradient of layout {grad.layout} and placements {placements} came "
                "to a clip by units; expected dense ones, sharded by rows or not at "
                "all; leave this parameter out"
            )
