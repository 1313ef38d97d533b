"""Gradients: a Moment comes in, the norm of each parameter's gradient goes out."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from surefoot.types import Moment, Reading


def norms(tensors: Sequence[torch.Tensor | None]) -> torch.Tensor:
    """2-norm of each tensor, shape `[len(tensors)]`, float32, on one device.

    A tensor that is not finite has norm inf; None, NaN. Half-precision norms are
    accumulated in float32, since they overflow otherwise. Sparse tensors count by
    their values, sharded ones (DTensor) as the whole.

    >>> norms([torch.tensor([3.0, 4.0]), None, torch.tensor([float("nan")])])
    tensor([5., nan, inf])
    """
    present = [tensor for tensor in tensors if tensor is not None]
    if not present:
        return torch.full((len(tensors),), torch.nan)
    row = torch.stack(_norms_of_present(present))
    row = torch.nan_to_num_(row, nan=torch.inf, posinf=torch.inf)
    if len(present) == len(tensors):
        return row
    places = [i for i, tensor in enumerate(tensors) if tensor is not None]
    spread = torch.full((len(tensors),), torch.nan, device=row.device)
    spread[places] = row
    return spread


def _norms_of_present(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """One 0-dim float32 norm a tensor: in few kernels where all are alike."""
    home = tensors[0].device
    if all(plain(tensor) and tensor.device == home for tensor in tensors):
        return list(torch._foreach_norm(tensors, 2, dtype=torch.float32))  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
    return [_single_norm(tensor).to(home) for tensor in tensors]


def plain(tensor: torch.Tensor) -> bool:
    """Whether a tensor is dense, real, whole and no wider than float32."""
    return (
        tensor.dtype in (torch.float32, torch.bfloat16, torch.float16)
        and tensor.layout == torch.strided
        and not hasattr(tensor, "full_tensor")
    )


def _single_norm(tensor: torch.Tensor) -> torch.Tensor:
    """The norm of a sparse, complex, double or sharded tensor."""
    if tensor.layout == torch.sparse_coo:
        tensor = tensor.coalesce().values()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    norm = torch.linalg.vector_norm(tensor.double()).float()
    whole = getattr(norm, "full_tensor", None)
    return whole() if whole is not None else norm


def grad_norm(moment: Moment) -> list[Reading]:
    """Norm of each gradient as the update sees it: accumulated and unscaled.

    A fused optimizer under a GradScaler unscales inside its kernel: it holds the
    scale while it steps, and the norms are divided by it here. A step that it skips
    has no norms: NaN.
    """
    row = norms(moment.grads)
    scale = getattr(moment.optimizer, "grad_scale", None)
    if isinstance(scale, torch.Tensor):
        row = row / scale.to(row.device)
    skipped = getattr(moment.optimizer, "found_inf", None)
    if isinstance(skipped, torch.Tensor):
        row = torch.where(skipped.to(row.device) > 0, torch.nan, row)
    return [Reading(moment.step, "grad_norm", moment.names, row)]
