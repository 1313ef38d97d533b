"""Gradients: a Moment comes in, the norm of each parameter's gradient goes out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from surefoot.gradients.norms import grad_scale, norms_of
from surefoot.types import Moment, Reading


def norms(tensors: Sequence[torch.Tensor | None]) -> torch.Tensor | list[float]:
    """2-norm of each tensor, shape `[len(tensors)]`, float32, on one device.

    Plain numbers where the tensors are on the host: each further call of torch costs
    20-40 µs there, after a step of training has evicted the caches.

    A tensor that is not finite has norm inf; None, NaN. Half-precision norms are
    accumulated in float32, since they overflow otherwise. Sparse tensors count by
    their values.

    >>> norms([torch.tensor([3.0, 4.0]), None, torch.tensor([float("nan")])])
    [5.0, nan, inf]
    """
    present = [tensor for tensor in tensors if tensor is not None]
    if not present:
        return torch.full((len(tensors),), torch.nan)
    found = norms_of(present)
    if all(norm.is_cpu for norm in found):
        return _on_host(tensors, found)
    row = torch.stack(found)
    row = torch.nan_to_num_(row, nan=torch.inf, posinf=torch.inf)
    if len(present) == len(tensors):
        return row
    places = [i for i, tensor in enumerate(tensors) if tensor is not None]
    spread = torch.full((len(tensors),), torch.nan, device=row.device)
    spread[places] = row
    return spread


def _on_host(
    tensors: Sequence[torch.Tensor | None], found: Sequence[torch.Tensor]
) -> list[float]:
    """Norms as numbers: inf where one is not finite, NaN where there is no tensor."""
    row = [norm.item() for norm in found]
    if not math.isfinite(sum(row)):
        row = [value if math.isfinite(value) else math.inf for value in row]
    if len(row) == len(tensors):
        return row
    rest = iter(row)
    return [math.nan if tensor is None else next(rest) for tensor in tensors]


def grad_norm(moment: Moment) -> list[Reading]:
    """Norm of each gradient as the update sees it: accumulated and unscaled.

    A fused optimizer under a GradScaler unscales inside its kernel: it holds the
    scale while it steps, and the gradients are divided by it here. A step that it
    skips has no norms: NaN.
    """
    scale = grad_scale(moment.optimizer)
    if scale is None:
        return [Reading(moment.step, "grad_norm", moment.names, norms(moment.grads))]
    # Divided first: the square of a scaled gradient may overflow.
    unscaled = [
        None if grad is None else grad.float() / scale.to(grad.device)
        for grad in moment.grads
    ]
    row = torch.as_tensor(norms(unscaled))
    skipped = getattr(moment.optimizer, "found_inf", None)
    if isinstance(skipped, torch.Tensor):
        row = torch.where(skipped.to(row.device) > 0, torch.nan, row)
    return [Reading(moment.step, "grad_norm", moment.names, row)]
