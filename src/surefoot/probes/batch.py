"""The batch: a Moment comes in, statistics of the inputs and targets go out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from surefoot.probes.activations import first_tensor
from surefoot.probes.sampling import COUNT, sample
from surefoot.types import RUN, Moment, Reading


def input_statistics(moment: Moment) -> list[Reading]:
    """Rows of the batch, and mean, deviation and largest magnitude of its inputs.

    `moment.batch` is what the model was called with. Integer inputs (tokens) have
    a batch size only.
    """
    parts = tensors(moment.batch)
    if not parts:
        return []
    size = torch.tensor([float(parts[0].shape[0])], device=parts[0].device)
    readings = [Reading(moment.step, "batch_size", RUN, size)]
    inputs = first_tensor(parts[0])
    if inputs is None:
        return readings
    deviation, mean, largest = _statistics(inputs)
    return [
        *readings,
        Reading(moment.step, "input_mean", RUN, mean),
        Reading(moment.step, "input_std", RUN, deviation),
        Reading(moment.step, "input_absmax", RUN, largest),
    ]


def target_statistics(step: int, batch: Any) -> list[Reading]:
    """Mean and deviation of the second tensor of a batch such as (inputs, targets)."""
    parts = tensors(batch)
    if len(parts) < 2 or parts[1].numel() < 2:
        return []
    deviation, mean, _ = _statistics(parts[1].detach().float())
    return [
        Reading(step, "target_mean", RUN, mean),
        Reading(step, "target_std", RUN, deviation),
    ]


def tensors(batch: Any) -> list[torch.Tensor]:
    """The tensors with rows in a batch: a tensor, sequence, mapping or nest of them."""
    if isinstance(batch, torch.Tensor):
        return [batch] if batch.dim() > 0 else []
    inner: list[Any] = []
    if isinstance(batch, Mapping):
        inner = list(batch.values())
    elif isinstance(batch, (list, tuple)):
        inner = list(batch)
    return [tensor for item in inner for tensor in tensors(item)]


def _statistics(tensor: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Deviation, mean and largest magnitude of a sample, each of shape `[1]`."""
    row = torch.empty((1, COUNT), device=tensor.device)
    sample(tensor, row[0])
    deviation, mean = torch.std_mean(row, dim=1)
    return deviation, mean, row.abs().amax(1)
