"""Sums of one process come in, those of all processes go out."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class _SumOverProcesses(torch.autograd.Function):
    """A sum to which every process adds: its gradient is the sum of all gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return sum_over_processes(gradients[0])


def sum_over_processes(values: Tensor) -> Tensor:
    """The sum over all processes of the default group, differentiable in all of them.

    Without a group of processes, the values as they are. Every process must call it.

    >>> sum_over_processes(torch.ones(2))
    tensor([1., 1.])
    """
    if not (dist.is_available() and dist.is_initialized()):
        return values
    if dist.get_world_size() == 1:
        return values
    total: Tensor = _SumOverProcesses.apply(values.contiguous())  # pyright: ignore[reportAssignmentType]
    return total
