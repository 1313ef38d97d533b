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
        CurvatureError: the loss has no graph, the loss or the update is not finite, or
            the optimizer computes the loss itself (LBFGS).

    >>> model = nn.Linear(2, 1, bias=False)
    >>> plain = torch.optim.SGD(model.parameters(), lr=0.5)
    >>> mean = lambda model, x: model(x).mean()
    >>> next_update(model, torch.ones(4, 2), loss_fn=mean, optimizer=plain)
    tensor([-0.5000, -0.5000])
    """
    if isinstance(optimizer, torch.optim.LBFGS):
        raise CurvatureError(
            "LBFGS computes the loss itself, several times a step, so that it has no "
            "update of one batch; measure along the difference of weights that you see"
        )
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
    """One step from clean gradients, inside of a snapshot.

    Past all hooks, and past `backward`: nothing that watches a training sees it.
    """
    held = [one for group in optimizer.param_groups for one in group["params"]]
    held = [one for one in held if one.requires_grad]
    with torch.enable_grad():
        loss = with_graph(loss_fn(model, batch))
    slopes = torch.autograd.grad(loss, held, allow_unused=True)
    for weight, slope in zip(held, slopes, strict=True):
        weight.grad = slope
    step = type(optimizer).step
    # torch wraps step() once with the calls of its hooks.
    bare = getattr(step, "__wrapped__", step) if hasattr(step, "hooked") else step
    bare(optimizer)
