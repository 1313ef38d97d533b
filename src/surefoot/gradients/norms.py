"""Gradients come in, their norms go out: accumulated in float32, sharded ones whole."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

_NARROW = frozenset({torch.float32, torch.bfloat16, torch.float16})
_WHOLE = (Tensor, torch.nn.Parameter)
"""Types that are no DTensor, which most are: asking for the type is cheap."""


def weights_of(optimizer: Optimizer) -> Iterator[Tensor]:
    """All parameters of an optimizer, group by group."""
    for group in optimizer.param_groups:
        yield from group["params"]


def grad_scale(optimizer: Optimizer) -> Tensor | None:
    """What the gradients are multiplied by while a fused optimizer steps, if known.

    A fused optimizer under a GradScaler unscales inside its kernel: it holds the scale
    while it steps. All others see gradients that are unscaled already.
    """
    scale = getattr(optimizer, "grad_scale", None)
    return scale if isinstance(scale, Tensor) else None


def plain(tensor: Tensor) -> bool:
    """Whether a tensor is dense, real and no wider than float32."""
    return tensor.dtype in _NARROW and tensor.layout is torch.strided


def uniform(tensors: Sequence[Tensor]) -> bool:
    """Whether all are plain, whole and on one device, so that one kernel does."""
    home = tensors[0].device
    return all(
        plain(one) and one.device == home and type(one) in _WHOLE for one in tensors
    )


def norms_of(tensors: list[Tensor]) -> list[Tensor] | tuple[Tensor, ...]:
    """2-norm of each tensor, 0-dim float32, on the device of the first.

    In few kernels where all are alike. Half-precision norms are accumulated in
    float32, since they overflow otherwise; sparse tensors count by their values.
    """
    home = tensors[0].device
    if all(plain(one) and one.device == home for one in tensors):
        return torch._foreach_norm(tensors, 2, dtype=torch.float32)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
    return [_single_norm(tensor).to(home) for tensor in tensors]


def norm_row(tensors: list[Tensor], *, alike: bool = False) -> Tensor:
    """2-norm of each tensor, shape `[len(tensors)]`, float32, on one device.

    `alike` says that they are known to be `uniform`.

    That of a tensor which is sharded over processes is the norm of the whole: all of
    them take part, in one exchange of all norms.

    >>> norm_row([torch.tensor([3.0, 4.0]), torch.ones(4)])
    tensor([5., 2.])
    """
    if alike:
        return torch.stack(torch._foreach_norm(tensors, 2, dtype=torch.float32))  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
    if any(is_sharded(tensor) for tensor in tensors):
        return _whole_norms(tensors)
    return torch.stack(norms_of(tensors))


def total_norm(optimizer: Optimizer) -> Tensor:
    """The norm of all gradients of an optimizer, unscaled, shape `[]`."""
    grads = [one.grad for one in weights_of(optimizer) if one.grad is not None]
    if not grads:
        return torch.zeros(())
    return torch.linalg.vector_norm(unscaled(norm_row(grads), grad_scale(optimizer)))


def unscaled(norms: Tensor, scale: float | Tensor | None) -> Tensor:
    """Norms of gradients that were multiplied by a scale, as they are without it."""
    return norms if scale is None else norms / torch.as_tensor(scale).to(norms.device)


def local_part(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process holds, sharing its memory."""
    return tensor.to_local() if is_sharded(tensor) else tensor  # pyright: ignore[reportAttributeAccessIssue]


def is_sharded(tensor: Tensor) -> bool:
    """Whether it is a DTensor, as all parameters are under `fully_shard`."""
    return type(tensor) not in _WHOLE and hasattr(tensor, "full_tensor")


def _single_norm(tensor: Tensor) -> Tensor:
    """The norm of a sparse, complex or double tensor."""
    if tensor.layout == torch.sparse_coo:
        tensor = tensor.coalesce().values()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    return torch.linalg.vector_norm(tensor.double()).float()


def _whole_norms(tensors: list[Tensor]) -> Tensor:
    """Squares of the local parts, added over the processes that share a tensor.

    One `all_reduce` for each way in which tensors are laid out: one a tensor is 13
    times slower for a hundred of them.
    """
    layouts: dict[Any, list[int]] = defaultdict(list)
    for place, tensor in enumerate(tensors):
        layouts[_layout(tensor)].append(place)
    local = torch.stack(norms_of([_summed(tensor) for tensor in tensors]))
    row = local.clone()
    for layout, places in layouts.items():
        if layout is None:
            continue
        mesh, axes = layout
        squares = local[places].square()
        for axis in axes:
            torch.distributed.all_reduce(squares, group=mesh.get_group(axis))
        row[places] = squares.sqrt()
    return row


def _layout(tensor: Tensor) -> tuple[Any, tuple[int, ...]] | None:
    """The mesh of a sharded tensor, and the axes over which its parts are spread."""
    if not is_sharded(tensor):
        return None
    placements: Any = getattr(tensor, "placements", ())
    axes = tuple(i for i, one in enumerate(placements) if one.is_shard())
    return getattr(tensor, "device_mesh", None), axes


def _summed(tensor: Tensor) -> Tensor:
    """The local part of a tensor whose parts are no longer to be added up."""
    placements: Any = getattr(tensor, "placements", ())
    if any(one.is_partial() for one in placements):
        raise ValueError(
            "a gradient came whose parts on the processes are still to be added; "
            "redistribute() it before it is clipped"
        )
    return local_part(tensor).detach()
