"""A symmetric operator comes in, its diagonal and the traces of its blocks go out.

Bekas, Kokiopoulou and Saad (2007): the mean of z∘Az over random signs z is that;
one probe's variance is the sum of the squares beside the diagonal, row by row. XDiag
(Epperly, Tropp and Webber 2024) takes what dominates exactly and probes the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from surefoot.curvature.errors import CurvatureError, NotFiniteError
from surefoot.curvature.estimate import Estimate
from surefoot.curvature.krylov import Krylov, Numbers
from surefoot.curvature.lanczos import first_vector
from surefoot.curvature.left_out import LeftOut
from surefoot.curvature.matrix import Matrix, Multiplies, Probes, as_operator
from surefoot.curvature.trace import LEAST, PAYS

Method = Literal["auto", "hutchinson", "xdiag"]


@dataclass(frozen=True, slots=True)
class Diagonal:
    """The diagonal `[n]` of a symmetric operator and its standard errors `[n]`.

    `freedom` is the number of degrees of freedom of the errors: 1 for two probes.
    """

    values: Tensor
    errors: Tensor
    products: int
    method: str
    freedom: int


def diagonal(
    operator: Multiplies,
    *,
    products: int = 100,
    method: Method = "auto",
    seed: int = 0,
) -> Diagonal:
    """Every second derivative of a loss by itself, with its standard error.

    Look at the errors: off-diagonal entries drown the diagonal of a large network. On
    an MLP of 1,510 weights 60 products leave a relative error of 0.19 (XDiag), on a
    ResNet of 78,000 weights 2.6: that diagonal cannot be had. The traces of its layers
    can: `layer_traces`.

    Args:
        operator: symmetric `[n, n]`, anything with `@` and `.shape`.
        products: how many; one for each probe of Hutchinson's, two for XDiag's.
        method: "hutchinson", "xdiag", or "auto": XDiag where half of the products
            explain each other, as they do where few eigenvalues dominate.
        seed: of the probes.

    Raises:
        CurvatureError: fewer than four products, or what the operator raises.

    >>> found = diagonal(torch.tensor([[3.0, 1.0], [1.0, 2.0]]), products=400)
    >>> found.values.round(decimals=1).tolist()
    [3.0, 2.0]
    """
    if products < 4:
        raise CurvatureError(
            f"{products} products came; expected 4 or more, for an error to be told"
        )
    matrix = as_operator(operator)
    if method == "auto" and matrix.size <= products:
        return _exact(matrix)
    before = matrix.products
    probes = Probes(matrix, seed)
    way, samples = _samples(matrix, probes, products=products, method=method)
    values, errors, count = _moments(samples)
    return Diagonal(values, errors, matrix.products - before, way, count - 1)


def _exact(matrix: Matrix) -> Diagonal:
    """All of a small matrix."""
    unit = torch.eye(matrix.size, dtype=matrix.dtype, device=matrix.device)
    values = (matrix @ unit).diagonal().clone()
    return Diagonal(values, torch.zeros_like(values), matrix.size, "exact", 1)


def _samples(
    matrix: Matrix, probes: Probes, *, products: int, method: Method
) -> tuple[str, Iterator[Tensor]]:
    """The method that was chosen, and diagonals `[n]` whose mean is the estimate."""
    if method == "hutchinson":
        return method, _hutchinson(matrix, probes, products)
    count = products // 2
    signs = torch.stack([probes.signs() for _ in range(count)], dim=1)
    multiplied = matrix @ signs
    left = LeftOut(multiplied)
    if method == "xdiag" or left.share() <= PAYS:
        return "xdiag", _xdiag(matrix, left, signs)
    rest = _hutchinson(matrix, probes, products - count)
    return "hutchinson", chain((signs * multiplied).unbind(1), rest)


def _hutchinson(matrix: Matrix, probes: Probes, count: int) -> Iterator[Tensor]:
    for _ in range(count):
        signs = probes.signs()
        yield signs * (matrix @ signs)


def _xdiag(matrix: Matrix, left: LeftOut, signs: Tensor) -> Iterator[Tensor]:
    """For each probe, the diagonal of A in the others' range, and its own of the rest.

    QQᵀA = QZᵀ with Z = AQ; without direction s it loses Qs(Zs)ᵀ, and what the probe
    sees of A outside is Qs(Zs·ω).
    """
    second = matrix @ left.basis
    held = (left.basis * second).sum(dim=1)
    alone = left.alone.to(signs)
    directions, images = left.basis @ alone, second @ alone
    for place in range(signs.shape[1]):
        sign, image = signs[:, place], images[:, place]
        yield held + directions[:, place] * (sign * (image @ sign) - image)


def _moments(samples: Iterable[Tensor]) -> tuple[Tensor, Tensor, int]:
    """Mean, its standard error, and the number of samples; none is kept."""
    count, mean, spread = 0, torch.zeros(()), torch.zeros(())
    for count, sample in enumerate(samples, start=1):
        away = sample - mean.to(sample)
        mean = mean.to(sample) + away / count
        spread = spread.to(sample) + away * (sample - mean)
    if not torch.isfinite(spread).all():
        raise NotFiniteError(
            "the products with the operator hold NaN or infinity; expected finite "
            "numbers; check the weights and the loss, or compute in float32"
        )
    return mean, (spread / max(1, count - 1) / count).sqrt(), count


def layer_traces(
    operator: Multiplies,
    slices: Mapping[str, slice] | None = None,
    *,
    products: int = 30,
    seed: int = 0,
) -> dict[str, Estimate]:
    """The trace of each layer's block of a matrix, all from the same products.

    Half of the products make a basis of what dominates, which is taken exactly: the
    rest is probed. A block below 2 % of the whole trace drowns in the others: its error
    says so.

    Args:
        operator: symmetric `[n, n]`, anything with `@` and `.shape`.
        slices: where each block is; None: `operator.space.slices`, one a tensor.
        products: how many, 6 or more.
        seed: of the probes.

    Raises:
        CurvatureError: too few products, no slices, or what the operator raises.

    >>> matrix = torch.diag(torch.tensor([5.0, 5.0, 1.0, 1.0, 1.0]))
    >>> found = layer_traces(matrix, {"first": slice(0, 2), "second": slice(2, 5)})
    >>> [round(one.value, 3) for one in found.values()]
    [10.0, 3.0]
    """
    if slices is None:
        slices = getattr(getattr(operator, "space", None), "slices", None)
    if not slices or products < 2 * LEAST:
        raise CurvatureError(
            f"slices {slices} and {products} products came; expected where each block "
            f"is, and {2 * LEAST} products or more"
        )
    matrix = as_operator(operator)
    before = matrix.products
    probes = Probes(matrix, seed)
    basis = Krylov(matrix, first_vector(operator, None, probes), probes)
    while basis.size < min(products // 2, matrix.size):
        basis.grow()
    ritz = basis.ritz()
    vectors = basis.combined(ritz.shares)
    values = torch.from_numpy(ritz.values).to(vectors)
    held = _sums((vectors.square() * values).sum(dim=1), slices)
    samples: list[Numbers] = []
    for _ in range(products - basis.size):
        signs = probes.signs()
        rest = matrix @ signs - vectors @ (values * (vectors.T @ signs))
        samples.append(held + _sums(signs * rest, slices))
    spent = matrix.products - before
    rows = np.array(samples).T
    return {name: _estimate(row, spent) for name, row in zip(slices, rows, strict=True)}


def _sums(vector: Tensor, slices: Mapping[str, slice]) -> Numbers:
    sums = torch.stack([vector[place].sum() for place in slices.values()])
    return sums.double().cpu().numpy()


def _estimate(samples: Numbers, products: int) -> Estimate:
    return Estimate(
        float(samples.mean()),
        float(samples.std(ddof=1) / len(samples) ** 0.5),
        products,
        "hutchinson",
        kind="standard error",
        freedom=len(samples) - 1,
    )
