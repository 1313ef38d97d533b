"""A model and a batch come in, the weights whose scale changes nothing go out.

Before a norm, the scale of a weight is divided out again: L(cw) = L(w). Such a weight
has ⟨w, ∇w⟩ = 0 and ∇L(cw) = ∇L(w)/c, it turns by η/‖w‖² a step, and weight decay on it
sets that rate; it regularises nothing (van Laarhoven 2017, arXiv:1706.05350).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from surefoot.nn.norm.errors import NormError
from surefoot.restore.random_streams import repeated
from surefoot.restore.still import still

LossFn = Callable[[nn.Module, Any], Tensor]

NEAR = 0.05
"""What still counts as invariant: an eps of 1e-5 beside a variance of 1e-3 gives 0.01;
weights that no norm follows give 0.5 and more."""

FACTORS = (3.0, 2.0, 5.0)
"""What rows are multiplied by in turn; a whole tensor by the first."""


@dataclass(frozen=True, slots=True)
class ScaleInvariant:
    """A weight whose scale changes nothing.

    `by_row` where the scale of each row (output unit, output channel) changes nothing
    for itself; `norm` is then the root mean square of the rows' norms, else that of the
    whole. `deviation` is how far gradients are from ∇L(cw) = ∇L(w)/c. Rate and decay
    are those of the optimizer that was given, 0 without one.
    """

    name: str
    by_row: bool
    norm: float
    deviation: float
    learning_rate: float = 0.0
    weight_decay: float = 0.0

    @property
    def effective_rate(self) -> float:
        """η/‖w‖²: the rate at which its direction learns."""
        return self.learning_rate / self.norm**2

    @property
    def note(self) -> str:
        """What weight decay does to it; "" where there is none."""
        if not self.weight_decay:
            return ""
        return (
            f"weight decay {self.weight_decay:g} on {self.name} is control of its "
            "learning rate, not shrinkage: its scale changes nothing, so decay only "
            f"keeps its effective rate (now {self.effective_rate:.3g}) from falling"
        )


def effective_learning_rate(
    weight: Tensor, learning_rate: float, *, by_row: bool = False
) -> Tensor:
    """η/‖w‖² of a scale-invariant weight, or `[rows]` of them.

    >>> effective_learning_rate(torch.tensor([[3.0, 4.0]]), 0.1)
    tensor(0.0040)
    """
    rows = weight.detach().flatten(1) if by_row else weight.detach().flatten()
    return learning_rate / rows.square().sum(-1)


def scale_invariant_parameters(
    model: nn.Module,
    batch: Any,
    loss_fn: LossFn,
    *,
    optimizer: Optimizer | None = None,
) -> tuple[ScaleInvariant, ...]:
    """The weights of a model whose scale changes nothing, by trying it.

    Weights are what has two dimensions or more: gains and biases of norms have a scale
    in common. One pass finds those with ⟨w, ∇w⟩ = 0; for each of these a pass at other
    scales tells whether gradients follow ∇L(cw) = ∇L(w)/c. Runs in training mode; the
    model is afterwards as it was, bit for bit.

    Args:
        model: what is trained.
        batch: what `loss_fn` takes.
        loss_fn: `loss_fn(model, batch)`, a scalar.
        optimizer: to tell effective rates, and where weight decay meets such weights.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
    >>> found = scale_invariant_parameters(
    ...     net, torch.randn(16, 4), lambda net, x: net(x).square().mean()
    ... )
    >>> [(one.name, one.by_row) for one in found]
    [('0.weight', True)]

    Raises:
        NormError: the loss is not a finite scalar with gradients.
    """
    every = model.named_parameters()
    weights = {name: w for name, w in every if w.requires_grad and w.dim() > 1}
    with still(model, training=True):
        gradients = _gradients(model, batch, loss_fn, list(weights.values()))
        found: list[ScaleInvariant] = []
        for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
            for by_row in (True, False):
                trial = _Trial(weight, gradient, by_row)
                if not trial.may_be:
                    continue
                with trial:
                    again = _gradients(model, batch, loss_fn, [weight])[0]
                deviation = trial.deviation(again)
                if deviation <= NEAR:
                    one = ScaleInvariant(name, by_row, trial.norm, deviation)
                    found.append(_with_rates(one, weight, optimizer))
                    break
    return tuple(found)


class _Trial:
    """A weight, for a while at another scale; afterwards the same memory as before."""

    def __init__(self, weight: nn.Parameter, gradient: Tensor, by_row: bool) -> None:
        self._weight, self._kept = weight, weight.data
        rows = weight.shape[0] if by_row else 1
        shape = (rows, *[1] * (weight.dim() - 1)) if rows > 1 else ()
        factors = [FACTORS[at % len(FACTORS)] for at in range(rows)]
        self._factors = weight.data.new_tensor(factors).reshape(shape)
        self._gradient = gradient
        flat, slope = (t.reshape(rows, -1) for t in (weight.data, gradient))
        size = flat.norm(dim=1) * slope.norm(dim=1)
        along = (flat * slope).sum(1).abs()
        self.norm = (flat.norm() / rows**0.5).item()
        several = not by_row or rows > 1
        self.may_be = (
            several and bool(size.max() > 0) and bool(along.max() <= NEAR * size.max())
        )

    def deviation(self, gradient: Tensor) -> float:
        """How far a gradient at the other scale is from what invariance says."""
        off = (gradient * self._factors - self._gradient).norm()
        return (off / self._gradient.norm()).item()

    def __enter__(self) -> None:
        self._weight.data = self._kept * self._factors

    def __exit__(self, *error: object) -> None:
        self._weight.data = self._kept


def _gradients(
    model: nn.Module, batch: Any, loss_fn: LossFn, weights: list[nn.Parameter]
) -> list[Tensor]:
    """Gradients on the same random numbers; zeros of weights that have none."""
    with repeated(0):
        loss = loss_fn(model, batch)
    if loss.dim() or not loss.requires_grad or not torch.isfinite(loss):
        raise NormError(
            f"loss_fn returned {loss.detach()}; expected a finite scalar with gradients"
        )
    return list(torch.autograd.grad(loss, weights, materialize_grads=True))


def _with_rates(
    one: ScaleInvariant, weight: Tensor, optimizer: Optimizer | None
) -> ScaleInvariant:
    for group in () if optimizer is None else optimizer.param_groups:
        if any(weight is held for held in group["params"]):
            rate, decay = float(group["lr"]), float(group.get("weight_decay", 0.0))
            return ScaleInvariant(
                one.name, one.by_row, one.norm, one.deviation, rate, decay
            )
    return one
