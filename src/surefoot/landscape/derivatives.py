"""A model, data and a loss come in; slices along gradients and eigenvectors go out."""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
from torch import nn

from surefoot.curvature.batches import counted
from surefoot.curvature.lanczos import eigenpairs
from surefoot.curvature.operators import hessian
from surefoot.landscape import weights
from surefoot.landscape.directions import (
    Slice,
    orthogonal,
    random_directions,
    slice_of,
)
from surefoot.landscape.evaluate import batches_of
from surefoot.landscape.weights import Vector
from surefoot.restore.still import still
from surefoot.types import LossFunction

Ends = Literal["largest", "both"]


def gradient_directions(
    model: nn.Module,
    data: Any,
    *,
    loss_fn: LossFunction,
    training: bool | None = None,
    seed: int = 0,
) -> Slice:
    """The gradient and a random direction orthogonal to it, both of length one.

    Coordinates are distances in weight space. The gradient points uphill: training
    goes to the left.

    Raises:
        ValueError: the gradient is zero or not finite.

    >>> net = nn.Linear(3, 1)
    >>> loss = lambda model, x: model(x).square().mean()
    >>> gradient_directions(net, torch.randn(8, 3), loss_fn=loss).labels
    ('gradient', 'random direction')
    """
    gradient = weights.unit(_gradient(model, batches_of(data), loss_fn, training))
    other = random_directions(model, count=1, seed=seed, vectors="scaled")
    across = weights.unit(orthogonal(other.directions[0], gradient))
    return slice_of(model, [gradient, across], labels=("gradient", "random direction"))


def eigenvector_directions(
    model: nn.Module,
    data: Any,
    *,
    loss_fn: LossFunction,
    ends: Ends = "largest",
    training: bool | None = None,
    seed: int = 0,
) -> Slice:
    """Two eigenvectors of the Hessian, of length one: where the loss bends most.

    Args:
        model: its weights are the centre.
        data: a batch, several, or a loader.
        loss_fn: `loss_fn(model, batch)`.
        ends: "largest": the two largest eigenvalues; "both": the largest and the
            smallest, along which a saddle goes down.
        training: the mode of all modules; None leaves each in its own.
        seed: of the search.

    Raises:
        CurvatureError: the loss has no second derivative; the message names why.
    """
    with hessian(model, data, loss_fn=loss_fn, training=training) as operator:
        count, which = (2, "largest") if ends == "largest" else (1, "both")
        found = eigenpairs(operator, count, which=cast(Any, which), seed=seed)
        split = [operator.space.split(found.vectors[:, at]) for at in (0, 1)]
        places = {id(one): at for at, one in enumerate(operator.space.tensors)}
    directions: list[Vector] = []
    for parts in split:
        whole = weights.weights_of(model).values()
        directions.append(
            tuple(
                parts[places[id(one)]].detach().clone()
                if id(one) in places
                else torch.zeros_like(one, requires_grad=False)
                for one in whole
            )
        )
    labels = [f"eigenvector of {float(value):.3g}" for value in found.values]
    return slice_of(model, directions, labels=labels)


def _gradient(
    model: nn.Module,
    batches: tuple[Any, ...],
    loss_fn: LossFunction,
    training: bool | None,
) -> Vector:
    """The gradient of the mean loss over all samples; zeros for frozen weights."""
    found = list(weights.weights_of(model).values())
    trained = [weight for weight in found if weight.requires_grad]
    counts = counted(batches, alone=True)
    total = [torch.zeros_like(weight, requires_grad=False) for weight in found]
    with still(model, training=training):
        for batch, count in zip(batches, counts, strict=True):
            parts = torch.autograd.grad(
                loss_fn(model, batch), trained, materialize_grads=True
            )
            given = iter(parts)
            total = [
                one + next(given) * (count / sum(counts))
                if weight.requires_grad
                else one
                for one, weight in zip(total, found, strict=True)
            ]
    return tuple(total)
