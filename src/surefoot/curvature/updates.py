"""Model, batch and optimizer come in, the update it would make goes out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from surefoot.curvature.errors import CurvatureError
from surefoot.curvature.losses import with_graph
from surefoot.curvature.space import Where, space
from surefoot.restore.snapshot import Snapshot
from surefoot.types import LossFunction


def next_update(
    model: nn.Module,
    batch: Any,
    *,
    loss_fn: LossFunction,
    optimizer: torch.optim.Optimizer,
    where: Where = None,
) -> Tensor:
    """New weights less old ones, `[n]`, if the optimizer stepped on this batch now.

    With its rates, momentum, preconditioner and weight decay as they are. The step is
    made and undone: weights, buffers, `.grad`, the optimizer's state and all random
    streams are as before, bit for bit, also when it raises. Takes memory for a copy of
    them all.

    Raises:
        CurvatureError: the loss has no graph, or the loss or the update is not finite.

    >>> model = nn.Linear(2, 1, bias=False)
    >>> plain = torch.optim.SGD(model.parameters(), lr=0.5)
    >>> mean = lambda model, x: model(x).mean()
    >>> next_update(model, torch.ones(4, 2), loss_fn=mean, optimizer=plain)
    tensor([-0.5000, -0.5000])
    """
    over = space(model, where)
    snapshot = Snapshot(model, optimizer, batch)
    try:
        before = over.flat(over.tensors).detach().clone()
        _step(model, batch, loss_fn=loss_fn, optimizer=optimizer)
        update = over.flat(over.tensors).detach() - before
    finally:
        snapshot.restore()
    if not bool(update.isfinite().all()):
        raise CurvatureError(
            "the optimizer's update is not finite; look for the first weight whose "
            "gradient or optimizer state is NaN or infinite"
        )
    return update


def _step(
    model: nn.Module,
    batch: Any,
    *,
    loss_fn: LossFunction,
    optimizer: torch.optim.Optimizer,
) -> None:
    """One step from clean gradients, inside of a snapshot."""
    for weight in model.parameters():
        weight.grad = None
    with torch.enable_grad():
        with_graph(loss_fn(model, batch)).backward()
    optimizer.step()
