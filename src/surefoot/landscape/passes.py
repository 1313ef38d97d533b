"""One forward pass that leaves no trace comes in as a model and a batch, and is run."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from surefoot.restore.still import still
from surefoot.types import LossFunction


def run_once(
    model: nn.Module,
    batch: Any,
    *,
    loss_fn: LossFunction | None = None,
    training: bool | None = None,
) -> None:
    """Run a model on a batch; buffers, modes and random streams are as before.

    Args:
        model: what is run.
        batch: what `loss_fn` takes; without one, the inputs: a tensor, or a sequence
            or mapping whose first entry is one.
        loss_fn: `loss_fn(model, batch)`; only its forward pass is of interest.
        training: the mode of all modules; None leaves each in its own.
    """
    with still(model, training=training), torch.no_grad():
        if loss_fn is not None:
            loss_fn(model, batch)
        else:
            model(_inputs(batch))


def _inputs(batch: Any) -> Any:
    if isinstance(batch, dict):
        return next(iter(batch.values()))
    return batch[0] if isinstance(batch, list | tuple) else batch


def names_of(model: nn.Module) -> dict[nn.Module, str]:
    """The name of each module; of one that stands in several places, the first."""
    found: dict[nn.Module, str] = {}
    for name, module in model.named_modules():
        found.setdefault(module, name or type(model).__name__)
    return found
