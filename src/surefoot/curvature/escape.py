"""Escape from saddles: a model at rest comes in, one that can descend again goes out.

At a saddle the gradient is zero and gradient descent stays, or leaves only as fast as
rounding lets it. Two ways out, both of which write to the weights, as an optimizer
does, and are called by nobody but the user:

- `escape` steps along the direction of most negative curvature, as far as the loss
  falls, and not at all where there is none;
- `PerturbedDescent` is gradient descent that adds a small random step where the
  gradient is small and has been for a while (Jin et al. 2017, arXiv 1703.00887).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from surefoot.curvature.estimate import Estimate
from surefoot.curvature.lanczos import eigenpairs
from surefoot.curvature.losses import Losses
from surefoot.curvature.moves import Moves, norm_of
from surefoot.curvature.operators import hessian
from surefoot.curvature.space import Space, Where, space
from surefoot.types import LossFunction

Parameters: TypeAlias = Iterable[Tensor] | Iterable[dict[str, Any]]

FIRST = 1e-2
"""Length of the first step that is tried, as a share of the norm of the weights, and
its length where that is zero."""

TRIES = 24
"""Times a step is doubled or halved: seven decades."""


@dataclass(frozen=True, slots=True)
class Escape:
    """What a step along negative curvature did.

    `length` is signed along the eigenvector and 0 where nothing was moved; `lowest` is
    λ_min of the Hessian before; `before` and `after` are losses on the same data.
    """

    lowest: Estimate
    length: float
    before: float
    after: float

    @property
    def moved(self) -> bool:
        """Whether the weights were changed."""
        return self.length != 0


def escape(
    model: nn.Module,
    data: Any,
    *,
    loss_fn: LossFunction,
    where: Where = None,
    tolerance: float = 1e-2,
    seed: int = 0,
) -> Escape:
    """Step along the direction of most negative curvature, as far as the loss falls.

    **Writes to the weights.** Nothing else is changed: not `.grad`, buffers, modes nor
    random streams, nor the state of an optimizer. Both signs are tried, and the length
    is doubled as long as the loss falls; it is never higher afterwards than before.
    Where λ_min is not below zero by more than its error nothing is moved.

    Args:
        model: near a stationary point.
        data: one batch, a DataLoader, or `Batches`.
        loss_fn: the mean loss of a batch.
        where: the weights that may move; None for all.
        tolerance: relative error of λ_min.
        seed: of the start of Lanczos.

    Raises:
        CurvatureError: the loss is not finite, or what `hessian` raises; the weights
            are then as before.

    >>> weight = nn.ParameterList([torch.zeros(2)])
    >>> f = lambda w, _: w[0][0] ** 2 - w[0][1] ** 2 + w[0][1] ** 4 / 4
    >>> found = escape(weight, None, loss_fn=f)
    >>> found.lowest.value < 0, found.after < -0.9
    (True, True)
    """
    over, losses = space(model, where), Losses(model, data, loss_fn=loss_fn)
    with hessian(model, data, loss_fn=loss_fn, where=where) as whole:
        pairs = eigenpairs(whole, 1, which="smallest", tolerance=tolerance, seed=seed)
    lowest, before = pairs.estimate(), losses.value()
    if not lowest.value + lowest.error < 0:
        return Escape(lowest, 0.0, before, before)
    direction = over.split(pairs.vectors[:, 0].to(over.dtype))
    moves = Moves(over)
    length, after = 0.0, before
    try:
        length, after = _descend(moves, direction, losses, over=over, before=before)
    finally:
        moves.to(direction, length)
    return Escape(lowest, length, before, after)


def _descend(
    moves: Moves, direction: list[Tensor], losses: Losses, *, over: Space, before: float
) -> tuple[float, float]:
    """The best of the lengths that were tried, and the loss there."""

    def at(length: float) -> float:
        moves.to(direction, length)
        return losses.value()

    first = FIRST * (norm_of(over) or 1.0)
    found = [_line(at, sign * first, before) for sign in (1.0, -1.0)]
    return min(found, key=lambda one: one[1])


def _line(
    at: Callable[[float], float], first: float, before: float
) -> tuple[float, float]:
    """Halve a step until the loss falls, or double it for as long as it does."""
    best, least, length = 0.0, before, first
    for _ in range(TRIES):
        loss = at(length)
        if loss < least:
            best, least, length = length, loss, 2 * length
        elif best:
            break
        else:
            length /= 2
    return best, least


class PerturbedDescent(torch.optim.Optimizer):
    """Gradient descent with a random step where it would rest at a saddle.

    Algorithm 4 of Jin et al. 2017: where the gradient's norm is at most `threshold`,
    and there was no perturbation for `wait` steps, a point of a ball of `radius` is
    added. At a minimum that costs little: the radius times itself times the curvature.

    Args:
        params: parameters or groups; all are perturbed together, as one vector.
        lr: the rate η; below 2/λ_max.
        radius: of the ball, in weight space.
        threshold: norm of the gradient from which on a point counts as stationary.
        wait: steps between perturbations, in which one can be seen to have worked.
        seed: of the random steps.

    Raises:
        ValueError: an argument out of its range.

    >>> w = nn.Parameter(torch.zeros(2))
    >>> optimizer = PerturbedDescent([w], lr=0.1)
    >>> for _ in range(200):
    ...     optimizer.zero_grad()
    ...     loss = w[0] ** 2 - w[1] ** 2 + w[1] ** 4 / 4
    ...     loss.backward()
    ...     _ = optimizer.step()
    >>> round(loss.item(), 3)
    -1.0
    """

    def __init__(
        self,
        params: Parameters,
        *,
        lr: float,
        radius: float = 1e-2,
        threshold: float = 1e-3,
        wait: int = 50,
        seed: int = 0,
    ) -> None:
        if not (lr > 0 and radius > 0 and threshold >= 0 and wait >= 1):
            raise ValueError(
                f"lr is {lr}, radius {radius}, threshold {threshold}, wait {wait}; "
                "expected lr > 0, radius > 0, threshold >= 0 and wait >= 1"
            )
        shared = {"radius": radius, "threshold": threshold, "wait": wait, "seed": seed}
        super().__init__(params, {"lr": lr, **shared, "steps": 0, "rested": -wait})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Perturb where the gradient is small, then descend.

        A step that perturbs does not descend: its gradient is of the place before.

        Args:
            closure: computes the loss and its gradients anew, if given.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        held = [one for group in self.param_groups for one in group["params"]]
        held = [one for one in held if one.grad is not None]
        first = self.param_groups[0]
        first["steps"] += 1
        rested = first["steps"] - first["rested"] > first["wait"]
        if held and rested and _norm(held) <= first["threshold"]:
            self._perturb(held, first)
        else:
            self._descend()
        return loss

    def _descend(self) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    weight.sub_(weight.grad * group["lr"])

    def _perturb(self, held: list[Tensor], first: dict[str, Any]) -> None:
        """Add a point that is uniform in the ball."""
        first["rested"] = first["steps"]
        stream = torch.Generator().manual_seed(
            hash((first["seed"], first["steps"])) % 2**63
        )
        drawn = [torch.randn(one.shape, generator=stream) for one in held]
        size = sum(one.numel() for one in held)
        norm = math.hypot(*(float(one.double().norm()) for one in drawn))
        share = float(torch.rand((), generator=stream)) ** (1 / size)
        for weight, direction in zip(held, drawn, strict=True):
            weight.add_(direction.to(weight), alpha=first["radius"] * share / norm)


def _norm(held: Iterable[Tensor]) -> float:
    """The norm of all gradients together; it is waited for."""
    return math.hypot(
        *(float(one.grad.double().norm()) for one in held if one.grad is not None)
    )
