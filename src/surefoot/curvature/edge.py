"""Edge of stability, measured: model, data and optimizer come in, a gauge goes out.

`stability` holds a number against a line; this measures the number, and gets right
what one number cannot: groups with different rates, and L2 decay inside of an adaptive
optimizer's preconditioner.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from surefoot.curvature.errors import CurvatureError
from surefoot.curvature.estimate import Estimate
from surefoot.curvature.lanczos import eigenpairs
from surefoot.curvature.linear import Operator
from surefoot.curvature.operators import hessian, preconditioned
from surefoot.curvature.stability import Gauge, StabilityLine, gauge, stability_lines
from surefoot.types import LossFunction


def stability(
    model: nn.Module,
    data: Any,
    *,
    loss_fn: LossFunction,
    optimizer: Optimizer,
    tolerance: float = 1e-2,
    training: bool | None = None,
) -> Gauge:
    """How far training is from the edge of stability, on these data, at this moment.

    Measures λ_max of the Hessian, preconditioned for adaptive optimizers, with L2
    decay, and weighted by the rates where parameter groups have different ones (the
    curvature is then in units of the group with the lowest line, and the ratio exact
    where the groups have one momentum; with several it is an approximation).

    Args:
        model: as it is trained.
        data: one batch, a DataLoader, or `Batches`. The theory is for all of the data;
            of a small batch λ_max is larger.
        loss_fn: the mean loss of a batch.
        optimizer: SGD, Adam, AdamW, Adamax, RMSprop or Adagrad, as it is now.
        tolerance: relative error of λ_max.
        training: the mode of all modules; None leaves each in its own.

    Raises:
        ValueError: an optimizer whose line is not known.
        CurvatureError: an adaptive optimizer before its first step, weights that it
            does not hold, or what `hessian` raises.

    >>> model = nn.Linear(1, 1, bias=False)
    >>> square = lambda model, x: model(x).square().mean() / 2
    >>> plain = torch.optim.SGD(model.parameters(), lr=0.19)
    >>> found = stability(
    ...     model, torch.full((4, 1), 10**0.5), loss_fn=square, optimizer=plain
    ... )
    >>> round(found.sharpness, 3), round(found.ratio, 3), found.state
    (10.0, 0.95, 'at the edge')
    """
    lines = stability_lines(optimizer)
    held = _by_weight(optimizer, lines)
    with hessian(
        model,
        data,
        loss_fn=loss_fn,
        where=lambda _, weight: id(weight) in held,
        training=training,
    ) as whole:
        measured = against_lines(whole, optimizer)
        pairs = eigenpairs(measured, 1, tolerance=tolerance)
    lowest = min(lines, key=lambda one: one.value)
    note = "; ".join(whole.notes)
    return _gauge(pairs.estimate(), lowest, several=len(set(lines)) > 1, note=note)


def against_lines(operator: Operator, optimizer: Optimizer) -> AgainstLines:
    """The operator whose λ_max is to be held against the optimizer's lowest line.

    D (P^(−1/2) (A + Λ) P^(−1/2)) D with the L2 decays Λ, the preconditioner P of an
    adaptive optimizer, and D² = lowest line / line of each weight's group.

    Args:
        operator: a Hessian or GGN over weights that the optimizer holds; not
            preconditioned.
        optimizer: as it is now.

    Raises:
        ValueError: an optimizer whose line is not known.
        CurvatureError: a weight that the optimizer does not hold, or an adaptive
            optimizer before its first step.
    """
    return AgainstLines(operator, optimizer)


class AgainstLines(Operator):
    """See `against_lines`. `scale` is the diagonal D P^(−1/2), `[n]`."""

    def __init__(self, inner: Operator, optimizer: Optimizer) -> None:
        super().__init__(inner.space)
        self._inner, self.notes = inner, inner.notes
        lines = stability_lines(optimizer)
        lowest = min(one.value for one in lines)
        of_weight = _by_weight(optimizer, lines)
        found: list[StabilityLine] = []
        for name, weight in zip(inner.space.names, inner.space.origins, strict=True):
            if id(weight) not in of_weight:
                raise CurvatureError(
                    f"the optimizer does not hold {name}; leave it out with where="
                )
            found.append(of_weight[id(weight)])
        self.scale = self._each([_weight(lowest, one.value) for one in found])
        self._decay = self._each([one.decay for one in found])
        if any(one.preconditioned for one in found):
            self.scale = self.scale * preconditioned(inner, optimizer).scale

    def _each(self, numbers: list[float]) -> Tensor:
        """One number for each tensor, as a vector `[n]`."""
        return self.space.flat(
            [
                torch.full_like(one, number)
                for one, number in zip(self.space.tensors, numbers, strict=True)
            ]
        )

    def _columns(self, columns: list[Tensor]) -> list[Tensor]:
        scaled = [self.scale * one for one in columns]
        found = self._inner @ torch.stack(scaled, dim=1)
        return [
            self.scale * (product + self._decay * one)
            for product, one in zip(found.unbind(1), scaled, strict=True)
        ]


def _by_weight(
    optimizer: Optimizer, lines: tuple[StabilityLine, ...]
) -> dict[int, StabilityLine]:
    return {
        id(weight): line
        for group, line in zip(optimizer.param_groups, lines, strict=True)
        for weight in group["params"]
    }


def _weight(lowest: float, line: float) -> float:
    """D: 1 for the lowest line, 0 for weights with a rate of zero."""
    return 1.0 if line == lowest else (lowest / line) ** 0.5


def _gauge(
    sharpness: Estimate, lowest: StabilityLine, *, several: bool, note: str
) -> Gauge:
    """The gauge; L2 decay is in the operator already."""
    if several:
        weighted = "weighted by the rates of the parameter groups"
        note = f"{weighted}; {note}" if note else weighted
    line = StabilityLine(lowest.value, lowest.rule, lowest.preconditioned)
    return gauge(sharpness, line, note=note)
