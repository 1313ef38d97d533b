"""Weights come in, orthonormal ones go out, in place and after each update if asked.

Two maps, which are not the same. The **polar** factor UVᵀ is the nearest orthonormal
matrix (Higham 1986), and it does not depend on the order of the filters. The **QR**
retraction keeps the direction of the first column and bends the later ones; it is
cheaper, and its signs are fixed here, without which LAPACK flips columns at random and
training breaks (Absil, Mahony and Sepulchre 2008, example 4.1.3).

Both work on the filters as rows of a matrix, `[out, in·kernel]`: on its columns where
it is tall, on its rows where it is wide. For a convolution this does not give an
operator of norm 1: see `conv_operator_norm`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from surefoot.nn.regularize.unfolding import (
    OrthogonalityError,
    computable,
    in_full_precision,
    tall,
    unfolded,
)

Polar = Literal["svd", "newton-schulz"]
Method = Literal["qr", "svd", "newton-schulz"]
METHODS: tuple[str, ...] = ("qr", "svd", "newton-schulz")

MOST_ITERATIONS = 60
"""A condition number of 1e10 needs 56 iterations to grow by 3/2 each, and 4 more."""
CHECKED_EVERY = 4
"""Iterations between looks at the residual, each of which waits for the device."""

MOMENTA: tuple[str, ...] = ("momentum_buffer", "exp_avg")
"""What torch's optimizers call their mean of gradients."""

MAPS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
MAPS_BACK = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
"""Modules whose weight is projected where a whole model comes."""


@in_full_precision
def qr_retraction(weight: Tensor, groups: int = 1) -> Tensor:
    """Q·sign(diag R) of the filters' Householder QR, in the shape of the weight.

    Continuous, and a retraction: of W + ηV with V tangent at an orthonormal W it is
    W + ηV up to η² (Absil et al. 2008; Huang et al. 2018 for networks).

    Args:
        weight: `[out, in]` or `[out, in, *kernel]`.
        groups: of a convolution; each is made orthonormal by itself.

    >>> shear = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    >>> (qr_retraction(shear) - shear).norm()
    tensor(1.)

    Raises:
        OrthogonalityError: the weight has fewer than two axes, or no such groups.
    """
    return _mapped(weight, groups, _qr)


@in_full_precision
def polar_projection(
    weight: Tensor, groups: int = 1, *, method: Polar = "svd"
) -> Tensor:
    """UVᵀ, the nearest orthonormal matrix in Frobenius norm (Higham 1986).

    Args:
        weight: `[out, in]` or `[out, in, *kernel]`.
        groups: of a convolution; each is made orthonormal by itself.
        method: "svd", or "newton-schulz": X ← X(3I − XᵀX)/2 until XᵀX = I up to
            rounding, matrix products only, faster on an accelerator.

    >>> shear = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    >>> (polar_projection(shear) - shear).norm()
    tensor(0.7265)

    Raises:
        OrthogonalityError: the weight has fewer than two axes, or no such groups; it
            is not finite; or Newton-Schulz does not converge, as its rank is too low.
    """
    return _mapped(weight, groups, _polar(method))


@torch.no_grad()
def qr_retraction_(weight: Tensor, groups: int = 1) -> Tensor:
    """`qr_retraction` in place; the weight goes out, untouched if it raises.

    Raises:
        OrthogonalityError: as `qr_retraction`; or the weight is sharded or not finite.
    """
    found = qr_retraction(_writable(weight), groups)
    _must_be_finite(found.sum())
    _writable(weight).copy_(found)
    return weight


@torch.no_grad()
def polar_projection_(
    weight: Tensor, groups: int = 1, *, method: Polar = "svd"
) -> Tensor:
    """`polar_projection` in place; the weight goes out, untouched if it raises.

    Raises:
        OrthogonalityError: as `polar_projection`; or the weight is sharded.
    """
    found = polar_projection(_writable(weight), groups, method=method)
    _writable(weight).copy_(found)
    return weight


@in_full_precision
def tangent(vector: Tensor, weight: Tensor, *, groups: int = 1) -> Tensor:
    """The part of a vector that is tangent to the orthonormal matrices at a weight.

    V − W·sym(WᵀV) on the tall side: what is removed would only leave the manifold, and
    the next projection would take it back. Of the shape of the weight.

    >>> tangent(torch.tensor([[2.0, 5.0], [1.0, 3.0]]), torch.eye(2))
    tensor([[ 0.,  2.],
            [-2.,  0.]])

    Raises:
        OrthogonalityError: the weight has fewer than two axes, or no such groups.
    """
    point = tall(computable(unfolded(weight, groups)))
    along = tall(computable(unfolded(vector, groups)))
    product = point.mT @ along
    inside = along - point @ ((product + product.mT) / 2)
    return _back(inside, weight, groups)


class OrthogonalProjection:
    """A post-step action: make the filters orthonormal again after an update.

    Register it with `surefoot.schedules.after_step(optimizer, action, every=10)`.
    Weights of one shape are projected together. Each log line says how many there
    were, and how far the one that moved most was moved, over its new norm.

    Norms of projected weights are fixed, so that weight decay on them only bends the
    update: leave it off for them. The projection does not see momentum: with
    `momentum_of` the part of the optimizer's first moment that points off the manifold
    is removed too, else it stays and is taken back at each projection.

    Args:
        weights: a model, of which the weights of all linear and convolution layers
            are taken (of embeddings none), or the weights themselves.
        method: "qr", "svd" or "newton-schulz": see `qr_retraction`, `polar_projection`.
        gain: what the orthonormal matrix is multiplied by, as in torch's
            `orthogonal_`; √2 before a ReLU.
        momentum_of: the optimizer whose first moment is made tangent as well.

    >>> from surefoot.schedules import after_step
    >>> layer = nn.Linear(3, 5, bias=False)
    >>> sgd = torch.optim.SGD(layer.parameters(), lr=0.1)
    >>> handle = after_step(sgd, OrthogonalProjection(layer))
    >>> layer(torch.ones(2, 3)).square().sum().backward()
    >>> sgd.step()
    >>> torch.dist(layer.weight.mT @ layer.weight, torch.eye(3)) < 1e-6
    tensor(True)
    >>> handle.log[0].body["weights"]
    1

    Raises:
        OrthogonalityError: a weight has fewer than two axes or is sharded over
            processes, as a shard has no whole columns; a layer computes its weight
            by a parametrization; there is none; or the method is unknown.
    """

    def __init__(
        self,
        weights: nn.Module | Iterable[Tensor],
        *,
        method: Method = "qr",
        gain: float = 1.0,
        momentum_of: Optimizer | None = None,
    ) -> None:
        if method not in METHODS:
            raise OrthogonalityError(
                f"method={method!r} came; expected one of {', '.join(METHODS)}"
            )
        if not (math.isfinite(gain) and gain > 0):
            raise OrthogonalityError(f"gain={gain!r} came; expected a positive number")
        self.method, self.gain, self.momentum_of = method, gain, momentum_of
        self._pairs = _pairs(weights)
        self._map = _qr if method == "qr" else _polar(method)

    def __repr__(self) -> str:
        count = len(self._pairs)
        return f"OrthogonalProjection({count} weights, {self.method}, {self.gain:g})"

    @torch.no_grad()
    def __call__(self, step: int) -> Mapping[str, Any]:
        """Project all weights; none is written if one cannot be."""
        stacks = [_Stack(alike, groups) for groups, alike in _by_shape(self._pairs)]
        project = in_full_precision(self._map)
        found = [project(stack.matrices) * self.gain for stack in stacks]
        both = list(zip(stacks, found, strict=True))
        moved = [stack.distance(new) for stack, new in both]
        most = torch.stack([one.to(moved[0].device) for one in moved]).amax()
        _must_be_finite(most)
        for stack, new in both:
            stack.put(new)
        if self.momentum_of is not None:
            self._make_tangent(self.momentum_of)
        return {"weights": len(self._pairs), "moved": float(most)}

    def _make_tangent(self, optimizer: Optimizer) -> None:
        """Remove from the first moments what is normal to the manifold."""
        for weight, groups in self._pairs:
            state = optimizer.state.get(weight, {})
            for name in MOMENTA:
                buffer = state.get(name)
                if isinstance(buffer, Tensor):
                    point = _writable(weight) / self.gain
                    inside = tangent(_writable(buffer), point, groups=groups)
                    _writable(buffer).copy_(inside)


class _Stack:
    """Weights of one shape, dtype and device, as matrices `[b·groups, m, n]`."""

    def __init__(self, weights: Sequence[Tensor], groups: int) -> None:
        self.weights, self.groups = weights, groups
        parts = [computable(unfolded(weight, groups)) for weight in weights]
        self.matrices = tall(torch.cat(parts))

    def distance(self, found: Tensor) -> Tensor:
        """The largest distance to other matrices, as a share of the norm of these."""
        moved = torch.linalg.vector_norm(found - self.matrices, dim=(-2, -1))
        size = torch.linalg.vector_norm(found, dim=(-2, -1))
        return (moved / size).amax()

    def put(self, found: Tensor) -> None:
        """Write matrices to the weights."""
        each = found.unflatten(0, (len(self.weights), self.groups))
        for weight, matrix in zip(self.weights, each, strict=True):
            weight.copy_(_back(matrix, weight, self.groups))


def _pairs(weights: nn.Module | Iterable[Tensor]) -> list[tuple[Tensor, int]]:
    """Each weight once, and the groups of its convolution."""
    if isinstance(weights, nn.Module):
        found = [_of_layer(n, m) for n, m in weights.named_modules() if _is_map(m)]
    else:
        found = [(weight, 1) for weight in weights]
    once = {id(weight): (weight, groups) for weight, groups in found}
    if not once:
        raise OrthogonalityError(
            "no weight came; expected weights, or a model with nn.Linear or "
            "convolution layers"
        )
    for weight, groups in once.values():
        unfolded(_writable(weight), groups)
    return list(once.values())


def _is_map(module: nn.Module) -> bool:
    return isinstance(module, MAPS + MAPS_BACK)


def _of_layer(name: str, layer: nn.Module) -> tuple[Tensor, int]:
    """A layer's own weight, and its groups."""
    weight = dict(layer.named_parameters(recurse=False)).get("weight")
    if weight is None:
        raise OrthogonalityError(
            f"{name or type(layer).__name__}: its weight is computed by a "
            "parametrization, and what is written to it would be lost; remove the "
            "parametrization, or pass the weights that are to be projected"
        )
    return weight, int(getattr(layer, "groups", 1))


def _by_shape(
    pairs: Sequence[tuple[Tensor, int]],
) -> list[tuple[int, list[Tensor]]]:
    """Weights that can be factorised in one call."""
    alike: dict[Any, list[Tensor]] = defaultdict(list)
    for held, groups in pairs:
        weight = _writable(held)
        kind = (groups, weight.shape[0], weight[0].numel(), weight.dtype, weight.device)
        alike[kind].append(weight)
    return [(kind[0], weights) for kind, weights in alike.items()]


def _writable(weight: Tensor) -> Tensor:
    """A weight as a plain tensor that shares its memory."""
    if not hasattr(weight, "full_tensor"):
        return weight
    placements: Any = getattr(weight, "placements", ())
    if not all(one.is_replicate() for one in placements):
        raise OrthogonalityError(
            f"a weight sharded over processes came ({placements}); expected whole "
            "ones, as a shard has no whole columns to make orthonormal; leave this "
            "layer out of fully_shard, or penalise with soft_orthogonality"
        )
    return weight.to_local()  # pyright: ignore[reportAttributeAccessIssue]


def _must_be_finite(number: Tensor) -> None:
    """Refuse what a weight that is not finite led to, before anything is written."""
    if not bool(number.isfinite()):
        raise OrthogonalityError(
            "a weight that is NaN or infinite came, which no projection repairs; go "
            "back to a checkpoint from before, and look for where it began"
        )


def _mapped(
    weight: Tensor, groups: int, function: Callable[[Tensor], Tensor]
) -> Tensor:
    """Apply a map of tall matrices to a weight."""
    upright = tall(computable(unfolded(weight, groups)))
    return _back(function(upright), weight, groups)


def _back(upright: Tensor, weight: Tensor, groups: int) -> Tensor:
    """A tall matrix in the shape and dtype of the weight it came from."""
    rows = weight.shape[0] // groups
    wide = rows < weight[0].numel()
    return (upright.mT if wide else upright).reshape(weight.shape).to(weight.dtype)


def _qr(matrix: Tensor) -> Tensor:
    factor, upper = torch.linalg.qr(matrix)
    diagonal = upper.diagonal(dim1=-2, dim2=-1)
    return factor * torch.where(diagonal < 0, -1.0, 1.0).to(factor).unsqueeze(-2)


def _polar(method: str) -> Callable[[Tensor], Tensor]:
    known: dict[str, Callable[[Tensor], Tensor]] = {
        "svd": _polar_by_svd,
        "newton-schulz": _polar_by_products,
    }
    if method not in known:
        raise OrthogonalityError(
            f"method={method!r} came; expected one of {', '.join(known)}"
        )
    return partial(_explained, known[method])


def _explained(function: Callable[[Tensor], Tensor], matrix: Tensor) -> Tensor:
    try:
        return function(matrix)
    except torch.linalg.LinAlgError as error:  # pyright: ignore[reportPrivateImportUsage]
        raise OrthogonalityError(
            "the singular values of a weight could not be found; look for NaN or "
            "infinite elements, which have no nearest orthonormal matrix"
        ) from error


def _polar_by_svd(matrix: Tensor) -> Tensor:
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    return left @ right


def _polar_by_products(matrix: Tensor) -> Tensor:
    """Newton-Schulz from W over a bound of its norm that is near it.

    √‖WᵀW‖_∞ is 1 for an orthonormal W, so that none of the iterations is lost on a
    weight that has hardly moved, as all are over the Frobenius norm.
    """
    product = matrix.mT @ matrix
    bound = product.abs().sum(-1).amax(-1).sqrt()[:, None, None]
    found = matrix / bound
    eye = torch.eye(matrix.shape[-1]).to(matrix)
    enough = 10 * torch.finfo(matrix.dtype).eps * matrix.shape[-1] ** 0.5
    for iteration in range(MOST_ITERATIONS):
        product = found.mT @ found
        if iteration % CHECKED_EVERY == 0:
            left = torch.linalg.vector_norm(product - eye, dim=(-2, -1)).amax()
            if float(left.detach()) <= enough:
                return found
        found = 1.5 * found - 0.5 * found @ product
    raise OrthogonalityError(
        f"Newton-Schulz did not converge in {MOST_ITERATIONS} iterations; the filters "
        "are nearly dependent or not finite, so that no orthonormal matrix is nearest; "
        'use method="svd" or "qr"'
    )
