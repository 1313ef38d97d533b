"""A model, data and a loss come in, symmetric matrix-free operators go out.

    H = hessian(model, batch, loss_fn=loss_fn)
    H @ v                                   # one product

The model, its gradients, modes, buffers and all random streams are as before when a
function of this file returns or raises, and after each product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from torch import nn
from torch.optim import Optimizer

from surefoot.curvature.batches import Batches, several
from surefoot.curvature.errors import CurvatureError
from surefoot.curvature.first_order import (
    CurvedTerm,
    EmpiricalTerm,
    GaussNewton,
    GaussNewtonTerm,
    first_order_term,
)
from surefoot.curvature.forward import Conditions
from surefoot.curvature.linear import Block, Operator
from surefoot.curvature.observer import Dropout
from surefoot.curvature.preconditioners import Preconditioned
from surefoot.curvature.second_order import Hessian, hessian_term
from surefoot.curvature.space import Space, Where, space
from surefoot.curvature.terms import OverData, Term, Terms
from surefoot.curvature.wrappers import FullWeights, groups_of, is_sharded, unwrapped
from surefoot.types import LossFunction

__all__ = [
    "Batches",
    "GaussNewton",
    "Hessian",
    "Operator",
    "fisher",
    "ggn",
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
    return Hessian(*_over(conditions, data, where=where, make=hessian_term))


def ggn(
    model: nn.Module,
    data: Any,
    *,
    loss_fn: LossFunction,
    where: Where = None,
    training: bool | None = None,
    dropout: Dropout = "fixed",
) -> GaussNewton:
    """The generalised Gauss–Newton matrix Jᵀ H J of the mean loss: never indefinite.

    J is the derivative of what the model returns, H the second derivative of the loss
    by that (Schraudolph 2002). Where the model computes its loss itself, J is that of
    what torch's loss function gets. Arguments as for `hessian`.

    Raises:
        CurvatureError: as `hessian` does; or the loss is linear in what the model
            returns; or the model was not called by `loss_fn`.

    >>> import torch
    >>> model = nn.Linear(2, 1, bias=False)
    >>> batch = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> ggn(model, batch, loss_fn=lambda m, x: m(x).square().mean()) @ torch.eye(2)
    tensor([[1., 0.],
            [0., 4.]])
    """
    conditions = Conditions(model, loss_fn, training, dropout, cut="outputs")
    make = partial(first_order_term, kind=CurvedTerm)
    return GaussNewton(*_over(conditions, data, where=where, make=make))


def fisher(
    model: nn.Module,
    data: Any,
    *,
    loss_fn: LossFunction,
    kind: Literal["empirical", "true"] = "empirical",
    where: Where = None,
    training: bool | None = None,
    dropout: Dropout = "fixed",
) -> GaussNewton:
    """The Fisher matrix of a model, "empirical" or "true".

    The empirical one is 1/N Σ gᵢ gᵢᵀ with gᵢ the gradient of the loss of sample i, at
    the targets of the data: row i of what the model returns is sample i (of sequences
    [batch, time, …], one sequence), or of what torch's loss function gets, where the
    model computes its loss itself.

    The true one takes the expectation over targets that the model itself predicts
    (Kunstner 2019 tells them apart). It is the second derivative of the loss over the
    natural parameters of its likelihood, so it is exact and draws nothing:
    cross_entropy and nll_loss (categorical), binary_cross_entropy (Bernoulli), mse_loss
    (Gaussian, of the variance for which the loss is its negative logarithm) and
    poisson_nll_loss, as functions or modules of torch. Other arguments are those of
    `hessian`.

    Raises:
        CurvatureError: as `hessian` does; or samples cannot be told apart; or no
            likelihood is known of which the loss is the negative logarithm.

    >>> import torch
    >>> model = nn.Linear(2, 1, bias=False)
    >>> nn.init.ones_(model.weight).requires_grad
    True
    >>> batch = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> fisher(model, batch, loss_fn=lambda m, x: m(x).square().mean()) @ torch.eye(2)
    tensor([[ 2.,  0.],
            [ 0., 32.]])
    """
    if kind not in ("empirical", "true"):
        raise CurvatureError(f"came kind={kind!r}; expected 'empirical' or 'true'")
    cut = "losses" if kind == "true" else "outputs"
    conditions = Conditions(model, loss_fn, training, dropout, cut)
    term = GaussNewtonTerm if kind == "true" else EmpiricalTerm
    make = partial(first_order_term, kind=term)
    return GaussNewton(*_over(conditions, data, where=where, make=make))


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


def _over(
    conditions: Conditions, data: Any, *, where: Where, make: Callable[..., Term]
) -> tuple[Terms, Space]:
    """The terms of all batches over some weights."""
    model, batches = conditions.model, several(data)
    groups = batches.groups or groups_of(model)
    over = space(model, where)
    if any(is_sharded(weight) for weight in over.origins):
        weights = FullWeights(unwrapped(model))
        conditions = replace(conditions, weights=weights)
        over = over.standing_in(weights.of(over.origins))
    batches = replace(batches, groups=groups)
    term = partial(make, space=over)
    return Terms(conditions, batches, space=over, make=term), over
