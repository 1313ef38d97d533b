"""Curvature along directions: an operator or a model come in, estimates go out.

One product with the Hessian gives v·Hv / v·v, the curvature of the loss on the line
through the weights along v. Along an optimizer's update it is the **curvature the
optimizer felt**. It says nothing of λ_max: with mini-batches the two did not even rise
and fall together (rank correlation −0.35 with SGD, −0.30 with Adam, on a small ResNet).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from surefoot.curvature.errors import CurvatureError
from surefoot.curvature.estimate import Estimate
from surefoot.curvature.lanczos import Eigenpairs, eigenpairs
from surefoot.curvature.losses import Losses
from surefoot.curvature.moves import moving, norm_of
from surefoot.curvature.space import Space, Where, space
from surefoot.types import LossFunction

ROUNDING = 32
"""Machine epsilons by which a product or a gradient is off, as a share of its norm.
Float32 against float64 on 17 small nets: at most 2 on 16 of them
(tests/curvature/test_along.py), but 1,200 where a layer norm divided by nearly nothing:
there no arithmetic in float32 is worth much, and this says nothing of it."""

AGREE = 0.01
"""Share by which finite differences at two steps may differ. On a GELU transformer
they were off by 1e-4; on ReLU networks, whose kinks have curvature that autograd does
not see, none came closer than 1 % at any step."""


class Operator(Protocol):
    """A symmetric matrix that multiplies vectors."""

    @property
    def shape(self) -> Sequence[int]:
        """Rows and columns."""
        ...

    def __matmul__(self, other: Any, /) -> Any: ...


class Hessian(Operator, Protocol):
    """A Hessian that knows the gradient `[n]`, as `operators.hessian` makes it."""

    @property
    def gradient(self) -> Tensor:
        """The gradient at the same weights, on the same batch."""
        ...


def curvature_along(operator: Operator, direction: Tensor) -> Estimate:
    """v·Hv / v·v, by one product; the error is what rounding may do to it.

    Args:
        operator: symmetric, such as `hessian(...)`.
        direction: v, shape `[n]`, of any length but zero.

    Raises:
        CurvatureError: the direction is zero or not finite.

    >>> curvature_along(torch.diag(torch.tensor([10.0, 1.0])), torch.tensor([0.6, 0.8]))
    Estimate(value=4.24..., error=..., products=1, method='v·Hv / v·v', ...)
    """
    return _along(operator, direction, "v·Hv / v·v")


def curvature_along_gradient(operator: Hessian) -> Estimate:
    """g·Hg / g·g: the curvature that a small step of plain gradient descent meets.

    Raises:
        CurvatureError: the gradient is zero.
    """
    return _along(operator, operator.gradient, "along the gradient")


def curvature_felt(operator: Operator, update: Tensor) -> Estimate:
    """The curvature the optimizer felt: that along its update.

    Make the operator on the weights and the batch of the update. Not an estimate of
    λ_max: that is its upper bound, and may be far away.

    Args:
        operator: the Hessian before the update.
        update: new weights less old ones, `[n]`; its length and sign do not matter.

    Raises:
        CurvatureError: the update is zero or not finite.
    """
    return _along(operator, update, "curvature the optimizer felt")


@dataclass(frozen=True, slots=True)
class Alignment:
    """How the gradient lies to the Hessian.

    `cosine` is that between Hg and g: 1 or −1 where g is an eigenvector. `share` is
    the part of |g|² in the span of the `k` largest eigenvalues' eigenvectors: Gur-Ari
    et al. 2018 (arXiv 1812.04754) find most of it there after a while, in as many
    directions as there are classes. A random direction has k/n there (`by_chance`).
    """

    cosine: Estimate
    share: Estimate
    k: int
    by_chance: float


def alignment(
    operator: Hessian, *, k: int = 5, tolerance: float = 1e-3, seed: int = 0
) -> Alignment:
    """Cosine of Hg and g, and the gradient's share in the top eigenspace.

    The share's error is a bound from the residuals of the eigenvectors over the gap to
    the next eigenvalue (Davis and Kahan 1970). Where the gap is small the eigenspace,
    and with it the share, is not determined: the bound is then 1.

    Args:
        operator: the Hessian with its gradient.
        k: dimensions of the eigenspace.
        tolerance: of the eigenvalues.
        seed: of the start of Lanczos.

    Raises:
        CurvatureError: the gradient is zero, or k is not between 1 and n.
    """
    size = operator.shape[0]
    if not 1 <= k <= size:
        raise CurvatureError(f"k is {k}; expected 1 to {size}, the number of weights")
    gradient = operator.gradient
    length = _length(gradient)
    product = operator @ gradient
    norm = float(product.double().norm())
    cosine = float(product.double() @ gradient.double()) / (norm * length or 1.0)
    rounding = 2 * ROUNDING * torch.finfo(gradient.dtype).eps
    pairs = eigenpairs(operator, min(k + 1, size), tolerance=tolerance, seed=seed)
    inside = pairs.vectors[:, :k].T.to(gradient) @ gradient
    share = min(1.0, float(inside.double().square().sum()) / length**2)
    error = _turned(pairs, k=k)
    return Alignment(
        Estimate(cosine, rounding, products=1, method="Hg and g"),
        Estimate(
            share, min(1.0, error + rounding), products=pairs.products,
            method=f"top {k} eigenvectors", converged=pairs.converged and error < 1,
            note="" if error < 1 else "there is no gap below these eigenvalues",
        ),
        k,
        k / size,
    )  # fmt: skip


def finite_difference_curvature(
    model: nn.Module,
    data: Any,
    *,
    loss_fn: LossFunction,
    direction: Tensor | None = None,
    step: float | None = None,
    where: Where = None,
) -> Estimate:
    """Curvature along a direction from gradients alone: no second derivatives.

    (∇L(w + εv̂) − ∇L(w − εv̂))·v̂ / 2ε at ε and at 2ε: exact on a quadratic whatever ε
    is. The error is their difference and what rounding may do. Where they differ by
    more than 1 % the result is not `converged`: networks with kinks (ReLU, max
    pooling) have no curvature that finite differences would settle at.

    The weights are moved and put back bit by bit; a graph made before does not outlive
    that.

    Args:
        model: whose weights are moved.
        data: one batch, a DataLoader, or `Batches`.
        loss_fn: the mean loss of a batch.
        direction: v, flat `[n]` in the order of `space(model, where)`; None for the
            gradient.
        step: ε, a length in weight space; None for √(machine epsilon)·‖w‖.
        where: the weights that are moved; None for all.

    Raises:
        CurvatureError: the direction is zero or of another size, the step is not above
            0, the loss has no graph or is not finite.
    """
    if step is not None and not step > 0:
        raise CurvatureError(f"step is {step}; expected a length above 0")
    over, losses = space(model, where), Losses(model, data, loss_fn=loss_fn)
    slope = losses.gradient(over) if direction is None else None
    unit = _unit(over, slope if direction is None else direction)
    step = step or natural_step(over)
    with moving(over) as moves:

        def gradient(length: float) -> Tensor:
            moves.to(over.split(unit), length)
            return losses.gradient(over)

        near = [gradient(step), gradient(-step)]
        far = [gradient(2 * step), gradient(-2 * step)]
    return _agreed(near, far, unit=unit, step=step, passes=losses.passes)


def natural_step(over: Space) -> float:
    """√(machine epsilon)·‖w‖, the length at which rounding and bending balance."""
    return math.sqrt(torch.finfo(over.dtype).eps) * (norm_of(over) or 1.0)


# --- the parts ------------------------------------------------------------------


def _along(operator: Operator, direction: Tensor, method: str) -> Estimate:
    length = _length(direction)
    unit = direction / length
    product = operator @ unit
    value = float(product.double() @ unit.double())
    error = ROUNDING * torch.finfo(direction.dtype).eps * float(product.double().norm())
    return Estimate(value, error, products=1, method=method)


def _length(direction: Tensor) -> float:
    length = float(direction.double().norm())
    if not math.isfinite(length) or length == 0:
        raise CurvatureError(
            f"the direction has length {length}; expected one that is finite and not "
            "zero: at a stationary point the gradient gives no direction"
        )
    return length


def _unit(over: Space, direction: Tensor | None) -> Tensor:
    assert direction is not None
    if direction.shape != (over.size,):
        raise CurvatureError(
            f"the direction has shape {tuple(direction.shape)}; expected "
            f"({over.size},): make it with space(model, where).flat(tensors)"
        )
    return direction.to(dtype=over.dtype, device=over.device) / _length(direction)


def _turned(pairs: Eigenpairs, *, k: int) -> float:
    """A bound on the sine between the eigenspace and the one that was found."""
    if k == len(pairs.vectors):
        return 0.0
    gap = float(pairs.values[k - 1] - pairs.values[k])
    turned = math.hypot(*pairs.residuals[:k].tolist())
    return min(1.0, turned / gap) if gap > 0 else 1.0


def _agreed(
    near: Sequence[Tensor],
    far: Sequence[Tensor],
    *,
    unit: Tensor,
    step: float,
    passes: int,
) -> Estimate:
    """The difference quotient at one step, judged by that at twice the step."""
    value, wide = (
        float(((plus - minus).double() @ unit.double()) / (2 * length))
        for (plus, minus), length in ((near, step), (far, 2 * step))
    )
    size = max(float(one.double().norm()) for one in near)
    rounding = ROUNDING * torch.finfo(unit.dtype).eps * size / step
    differ = abs(value - wide)
    agreed = differ <= AGREE * abs(value) + rounding
    note = "" if agreed else (
        f"at twice the step it is {wide:.4g}: the loss has kinks, or bends on the "
        "scale of the step; use curvature_along(hessian(...), direction)"
    )  # fmt: skip
    return Estimate(
        value, differ + rounding, products=0, converged=agreed, note=note,
        method=f"finite differences, {passes} gradients",
    )  # fmt: skip
