"""Sharpness layer by layer: a model, data and a loss come in, λ_max of each block out.

A block is the part of the Hessian that belongs to one layer's weights. Its λ_max is a
lower bound on the whole Hessian's (Cauchy interlacing): the layer that has most of it
is where the curvature sits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from surefoot.curvature.estimate import Estimate
from surefoot.curvature.lanczos import eigenpairs
from surefoot.curvature.linear import Operator
from surefoot.curvature.operators import hessian, restricted
from surefoot.curvature.space import Space
from surefoot.types import LossFunction


def layer_sharpness(
    model: nn.Module,
    data: Any,
    *,
    loss_fn: LossFunction,
    layers: Sequence[str] | None = None,
    tolerance: float = 1e-2,
    training: bool | None = None,
) -> Mapping[str, Estimate]:
    """The largest eigenvalue of each layer's block of the Hessian, with its error.

    One graph serves all layers. A product costs as much as one with the whole Hessian,
    so that this costs 5 to 12 of them a layer.

    Args:
        model: whose layers are measured.
        data: one batch, a DataLoader, or `Batches`.
        loss_fn: the mean loss of a batch.
        layers: names of modules or parameters; None for all modules that hold weights
            of their own.
        tolerance: relative error of each eigenvalue.
        training: the mode of all modules; None leaves each in its own.

    Raises:
        CurvatureError: a name that is not in the model, or what `hessian` raises.

    >>> import torch
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1))
    >>> square = lambda model, x: model(x).square().mean()
    >>> list(layer_sharpness(model, torch.ones(4, 2), loss_fn=square))
    ['0', '2']
    """
    with hessian(model, data, loss_fn=loss_fn, training=training) as whole:
        return sharpness_of_blocks(whole, layers=layers, tolerance=tolerance)


def sharpness_of_blocks(
    operator: Operator,
    *,
    layers: Sequence[str] | None = None,
    tolerance: float = 1e-2,
    seed: int = 0,
) -> Mapping[str, Estimate]:
    """The same from an operator that is there: a Hessian, GGN or preconditioned one."""
    chosen = layers_of(operator.space)
    if layers is not None:
        chosen = {name: (name,) for name in layers}
    return {
        name: _largest(restricted(operator, own), tolerance=tolerance, seed=seed)
        for name, own in chosen.items()
    }


def layers_of(over: Space) -> Mapping[str, tuple[str, ...]]:
    """Modules that hold weights of their own, and the names of these weights.

    Weights of modules inside of them are not theirs. A weight of the model itself is
    named as the weight.

    >>> from surefoot.curvature.space import space
    >>> layers_of(space(nn.Sequential(nn.Linear(2, 2), nn.ReLU())))
    {'0': ('0.weight', '0.bias')}
    """
    found: dict[str, tuple[str, ...]] = {}
    for name in over.names:
        owner = name.rpartition(".")[0] or name
        found[owner] = (*found.get(owner, ()), name)
    return found


def _largest(block: Operator, *, tolerance: float, seed: int) -> Estimate:
    with block:
        pairs = eigenpairs(block, 1, which="largest", tolerance=tolerance, seed=seed)
    return pairs.estimate()
