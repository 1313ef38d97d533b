"""A model, data and a loss come in, symmetric matrix-free operators go out.

    H = hessian(model, batch, loss_fn=loss_fn)
    H @ v                                   # one product

The model, its gradients, modes, buffers and all random streams are as before when a
function of this file returns or raises, and after each product.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn
from torch.optim import Optimizer

from surefoot.curvature.batches import Batches, several
from surefoot.curvature.forward import Conditions, Dropout
from surefoot.curvature.linear import Block, Operator
from surefoot.curvature.preconditioners import Preconditioned
from surefoot.curvature.second_order import Hessian, hessian_term
from surefoot.curvature.space import Where, space
from surefoot.curvature.terms import OverData, Terms
from surefoot.types import LossFunction

__all__ = [
    "Batches",
    "Hessian",
    "Operator",
    "hessian",
    "preconditioned",
    "restricted",
]


def hessian(
    model: nn.Module,
    data: Any,
    *,
    loss_fn: LossFunction,
    where: Where = None,
    training: bool | None = None,
    dropout: Dropout = "fixed",
) -> Hessian:
    """The Hessian of the mean loss over a batch, or over several.

    The graph of one batch is made once and kept until `close()`, so that a product
    costs one more backward pass through it. Of several batches (`Batches` or a
    DataLoader) each graph is made anew at each product, unless told otherwise.

    Args:
        model: as it is trained; compiled and distributed ones as well.
        data: one batch as `loss_fn` takes it, `Batches(...)`, or a DataLoader, which is
            read once and held in memory.
        loss_fn: `loss_fn(model, batch)`, the mean loss of the batch.
        where: which weights; see `space`. None takes all that are trained.
        training: the mode of all modules; None leaves each in its own. Batch norm in
            training mode is what governs training: its curvature is often a tenth of
            that in evaluation mode.
        dropout: "fixed" draws one mask, as the next pass would; "off" leaves it out.

    Raises:
        CurvatureError: there is no second derivative, or a number that is not finite;
            it says which and what to do.

    >>> import torch
    >>> model = nn.Linear(2, 1, bias=False)
    >>> batch = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> H = hessian(model, batch, loss_fn=lambda m, x: m(x).square().mean())
    >>> H @ torch.eye(2)
    tensor([[1., 0.],
            [0., 4.]])
    """
    conditions = Conditions(model, loss_fn, training, dropout)
    return _over(conditions, data, space(model, where))


def restricted(operator: Operator, where: Where) -> Operator:
    """Rows and columns of an operator that belong to some of its weights.

    It uses the same graph. Closing it leaves the operator open.

    Raises:
        CurvatureError: `where` names no weight of the operator.

    >>> import torch
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    >>> H = hessian(model, torch.ones(4, 2), loss_fn=lambda m, x: m(x).square().mean())
    >>> restricted(H, "2").shape
    (4, 4)
    """
    places = operator.space.chosen(where)
    if isinstance(operator, OverData):
        return operator.restricted(places)
    return Block(operator, places)


def preconditioned(operator: Operator, optimizer: Optimizer) -> Preconditioned:
    """P^(-1/2) A P^(-1/2), with the diagonal P by which an optimizer scales its steps.

    Its largest eigenvalue governs the stability of an adaptive optimizer as that of
    the Hessian does for gradient descent: Cohen et al. 2022, "Adaptive gradient methods
    at the edge of stability". P is that of the moment; `scale` is P^(-1/2) [n].

    Raises:
        CurvatureError: the optimizer's scale is not known: another kind than SGD, Adam,
            AdamW, Adamax, RMSprop and Adagrad, no update yet, or other weights.

    >>> import torch
    >>> model = nn.Linear(2, 1, bias=False)
    >>> H = hessian(model, torch.eye(2), loss_fn=lambda m, x: m(x).square().mean())
    >>> P = preconditioned(H, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    >>> P.scale
    tensor([1., 1.])
    """
    return Preconditioned(operator, optimizer)


def _over(conditions: Conditions, data: Any, over: Any) -> Hessian:
    make = partial(hessian_term, space=over)
    terms = Terms(conditions, several(data), space=over, make=make)
    return Hessian(terms, over)
