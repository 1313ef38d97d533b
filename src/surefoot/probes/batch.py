"""The batch: a Moment comes in, statistics of the inputs and targets go out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch

from surefoot.probes.activations import first_tensor
from surefoot.probes.sampling import RUN_LENGTH, sampled
from surefoot.types import RUN, Moment, Reading, Series

SAMPLE = "input_sample"
"""Samples on their way to the flush; statistics of them are recorded, not they."""
_RUNS = 64
"""Inputs are sampled at every step, so with fewer elements than activations."""
TARGETS = ("labels", "label", "targets", "target", "y")
"""Names of targets in a batch that is a mapping."""
_ELEMENTS = tuple(str(i) for i in range(_RUNS * RUN_LENGTH))


def inputs(moment: Moment) -> list[Reading]:
    """Rows of the batch and a sample of its inputs, 512 elements.

    `moment.batch` is what the model was called with. Integer inputs (tokens) have
    a batch size only. The statistics of the samples are taken together at the next
    flush: see `finished`.
    """
    parts = tensors(moment.batch)
    if not parts:
        return []
    readings = [Reading(moment.step, "batch_size", RUN, (float(parts[0].shape[0]),))]
    seen = first_tensor(parts[0])
    if seen is not None:
        row = sampled(seen, _RUNS).float()
        readings.append(Reading(moment.step, SAMPLE, _ELEMENTS, row))
    return readings


def finished(series: Series) -> list[Series]:
    """What is recorded of a block: samples become statistics, the rest stays.

    A block of samples has shape `[n, 512]`; mean, deviation and largest magnitude
    of each row come out as three series of one layer.
    """
    if series.quantity != SAMPLE:
        return [series]
    values = series.values
    # What overflows, or is no number, is so in the record too.
    with np.errstate(over="ignore", invalid="ignore"):
        mean = values.mean(1)
        centred = values - mean[:, None]
        statistics = {
            "input_mean": mean,
            "input_std": np.sqrt(np.square(centred, out=centred).mean(1)),
            "input_absmax": np.maximum(values.max(1), -values.min(1)),
        }
    return [
        Series(name, RUN, series.steps, column[:, None], series.stream)
        for name, column in statistics.items()
    ]


def target_statistics(step: int, batch: Any) -> list[Reading]:
    """Mean and deviation of the second tensor of a batch such as (inputs, targets)."""
    parts = tensors(batch)
    if len(parts) < 2 or parts[1].numel() < 2:
        return []
    row = sampled(parts[1].detach()).float()
    deviation, mean = torch.std_mean(row[None], dim=1)
    return [
        Reading(step, "target_mean", RUN, mean),
        Reading(step, "target_std", RUN, deviation),
    ]


def targets_in(batch: Any) -> torch.Tensor | None:
    """The targets of a batch: the second of a pair, or what is named so in a mapping.

    >>> targets_in({"x": torch.ones(2), "labels": torch.tensor([3, 4])})
    tensor([3, 4])
    """
    found: Any = None
    if isinstance(batch, Mapping):
        held = cast(Mapping[Any, Any], batch)
        found = next((held[name] for name in TARGETS if name in held), None)
    elif isinstance(batch, (list, tuple)) and len(cast(Sequence[Any], batch)) > 1:
        second = cast(Sequence[Any], batch)[1]
        found = targets_in(second) if isinstance(second, Mapping) else second
    return found if isinstance(found, torch.Tensor) else None


def tensors(batch: Any) -> list[torch.Tensor]:
    """The tensors with rows in a batch: a tensor, sequence, mapping or nest of them."""
    if isinstance(batch, torch.Tensor):
        return [batch] if batch.dim() > 0 else []
    inner: list[Any] = []
    if isinstance(batch, (list, tuple)):
        inner = list(batch)
    elif isinstance(batch, Mapping):
        inner = list(batch.values())
    return [tensor for item in inner for tensor in tensors(item)]
