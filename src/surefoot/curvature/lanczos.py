"""A symmetric operator comes in, its extreme eigenpairs with error bounds go out.

Lanczos with full reorthogonalisation, which stops by itself: not when a value has
ceased to change, which certifies nothing, but when the residual says how far the
nearest eigenvalue can be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from surefoot.curvature.errors import CurvatureError
from surefoot.curvature.estimate import Estimate
from surefoot.curvature.krylov import Krylov, Numbers, Ritz
from surefoot.curvature.matrix import Matrix, Multiplies, Probes, as_operator

Places = npt.NDArray[np.intp]
Which = Literal["largest", "smallest", "both", "magnitude"]

TRUSTED = 3e-3
"""Relative residual from which on residual²/gap is believed. Above, the basis may be
blind to an eigenvalue next to the one it found: over 90 runs on an MLP and two ResNets
at tolerance 1e-3, believing any residual misplaced the fifth eigenvalue by 2 to 10 % in
8 runs, believing residuals below 1 % in 4, and below 0.3 % in none. Believing none
costs 1 to 2 products more."""

SMALL = 1e-2
"""The tolerance is relative to the eigenvalue, but to this share of the largest one
where it is smaller: an eigenvalue of 0 has no relative error."""

ROUNDINGS = 16
"""Each bound contains so many roundings of the largest eigenvalue."""

FRESH = 0.3
"""Norm of the random part of a start, beside 1 for what is known: old vectors alone
would not see an eigenvalue that has grown elsewhere. A gradient as the start saves a
fifth of the products for one eigenvalue (5.0, 6.2 and 7.0 for 6.4, 7.2 and 8.4 on two
ResNets and an MLP), with 0.1, 0.3 or 1 of randomness alike."""

SKEW = 1e-3
"""Asymmetry beyond this share of the largest eigenvalue is no rounding: products with
the Hessian of a GPT or ResNet in float32 have 1e-5 at most."""

TINY = 1e-30
"""A start of norm 0 is none."""

OFTEN = 16
"""The spectrum of the basis is looked at after every product, and after every 16th part
of them when there are many: it costs the cube of their number."""


@dataclass(frozen=True, slots=True)
class Eigenpairs:
    """Extreme eigenvalues, descending (by absolute value for "magnitude").

    `values` `[k]` float64; `vectors` `[n, k]` on the operator's device, of norm 1;
    `errors` `[k]`, absolute bounds on the distance from the true eigenvalue;
    `residuals` `[k]`, the norms of `A v - λ v`, within which there is one whatever the
    spectrum is like. `converged` is False where the
    tolerance is not met, and `note` says why.
    """

    values: Numbers
    vectors: Tensor
    errors: Numbers
    residuals: Numbers
    products: int
    converged: bool
    note: str = ""

    def estimate(self, index: int = 0) -> Estimate:
        """One of the eigenvalues, with its bound."""
        value, error = float(self.values[index]), float(self.errors[index])
        return Estimate(
            value,
            error,
            self.products,
            "lanczos",
            converged=self.converged,
            note=self.note,
        )


def eigenpairs(
    operator: Multiplies,
    k: int = 1,
    *,
    which: Which = "largest",
    tolerance: float = 1e-3,
    most_products: int | None = None,
    start: Tensor | None = None,
    seed: int = 0,
) -> Eigenpairs:
    """Eigenvalues at the ends of the spectrum, their vectors and error bounds.

    An eigenvalue of a symmetric matrix lies within the residual's norm r of each value
    (Parlett 1998, theorem 4.5.1), and within r²/gap of it if no other is in the gap
    (Kato 1949, Temple 1933). The second is believed from r <= 0.3 % of the value on,
    with half the gap to the nearest other one, less its own residual. To this come
    the rounding of the products and their lack of symmetry. Eigenvalues nearer to each
    other than that may be taken for one: `residuals` hold for them too.

    That it is the *largest* eigenvalue which lies there, no bound can prove; the start
    has a random part, so that none is overlooked for good. An eigenvalue that is there
    twice, to the last digit, is found once, unless the space is exhausted: then it
    starts afresh.

    Args:
        operator: symmetric `[n, n]`, anything with `@` and `.shape`.
        k: how many; of "both", how many at each end.
        which: the largest, the smallest (most negative), both ends from one basis, or
            those of largest magnitude.
        tolerance: error allowed, relative to each eigenvalue (or to a hundredth of
            the largest, for those near zero).
        most_products: products at most; None: 100, and 20 for each eigenvalue. The
            basis takes one vector of memory for each product.
        start: vectors that are believed near, `[n]` or `[n, j]`: those of the last
            time, for instance. None: the operator's `gradient`, where it has one.
        seed: of the random part of the start.

    Raises:
        CurvatureError: the operator is not square or its products are not finite; k,
            the tolerance or the start do not fit.

    >>> spectrum = torch.diag(torch.tensor([10.0, 5.0, 1.0, 0.5]))
    >>> found = eigenpairs(spectrum, 2)
    >>> found.values.round(3), found.converged
    (array([10.,  5.]), True)
    """
    matrix = as_operator(operator)
    most = min(matrix.size, most_products or 100 + 20 * k)
    _check(matrix, k, tolerance=tolerance, most=most)
    before = matrix.products
    probes = Probes(matrix, seed)
    krylov = Krylov(matrix, first_vector(operator, start, probes), probes)
    while True:
        krylov.grow()
        last = krylov.size >= most
        early = krylov.size <= k or krylov.size % max(1, krylov.size // OFTEN)
        if early and not last:
            continue
        view = _view(krylov, k, which)
        allowed = tolerance * np.maximum(np.abs(view.values), SMALL * view.scale)
        met = bool((view.errors <= allowed).all()) and _settled(krylov, view, which)
        if met or last or _is_floor(krylov, view):
            break
    return Eigenpairs(
        values=view.values,
        vectors=krylov.combined(view.shares),
        errors=view.errors,
        residuals=np.hypot(view.outside, view.skew),
        products=matrix.products - before,
        converged=met,
        note="" if met else _why(view, allowed),
    )


@dataclass(frozen=True, slots=True)
class _View:
    """What is wanted of the spectrum, as far as a basis shows it.

    `reach` is how far from 0 each of those may lie that are not wanted, `scale` the
    largest magnitude of all, `size` the number of products.
    """

    values: Numbers
    shares: Numbers
    outside: Numbers
    skew: Numbers
    errors: Numbers
    reach: Numbers
    scale: float
    size: int


def _view(krylov: Krylov, k: int, which: Which) -> _View:
    ritz = krylov.ritz()
    chosen = _chosen(ritz.values, k, which)
    scale = float(np.abs(ritz.values).max())
    skew = ritz.skew[chosen]
    return _View(
        values=ritz.values[chosen],
        shares=ritz.shares[:, chosen],
        outside=ritz.outside[chosen],
        skew=skew,
        errors=_bounds(ritz, chosen) + skew + ROUNDINGS * krylov.rounding * scale,
        reach=np.delete(np.abs(ritz.values) + ritz.outside, chosen),
        scale=scale,
        size=krylov.size,
    )


def _check(matrix: Matrix, k: int, *, tolerance: float, most: int) -> None:
    if not 1 <= k <= most:
        raise CurvatureError(
            f"{k} eigenvalues were asked of a matrix of size {matrix.size} with {most} "
            f"products; expected 1 to {most}; allow more products or ask for fewer"
        )
    if not tolerance > 0:
        raise CurvatureError(
            f"the tolerance is {tolerance}; expected a relative error above 0, such as "
            "1e-3"
        )


def first_vector(operator: Multiplies, start: Tensor | None, probes: Probes) -> Tensor:
    """The first vector of the basis: random, and what is believed near."""
    fresh = probes.gaussian()
    fresh = fresh / fresh.norm()
    near = getattr(operator, "gradient", None) if start is None else start
    if not isinstance(near, Tensor):
        return fresh
    columns = near.detach().to(fresh)
    columns = columns[:, None] if columns.ndim == 1 else columns
    if columns.ndim != 2 or len(columns) != len(fresh) or not columns.numel():
        raise CurvatureError(
            f"the start has shape {tuple(near.shape)}; expected [{len(fresh)}] or "
            f"[{len(fresh)}, j], vectors over the same parameters as the operator's"
        )
    if not torch.isfinite(columns).all():
        raise CurvatureError(
            "the start holds NaN or infinity; expected finite vectors; leave it out"
        )
    known = (columns / columns.norm(dim=0).clamp(min=TINY)).sum(dim=1)
    return known / known.norm().clamp(min=TINY) + FRESH * fresh


def _chosen(values: Numbers, k: int, which: Which) -> Places:
    """Places of those that are wanted among ascending values, in the order wanted."""
    down = np.arange(len(values))[::-1]
    if which == "magnitude":
        return np.argsort(-np.abs(values), kind="stable")[:k]
    if which == "both":
        return down if len(down) <= 2 * k else np.concatenate([down[:k], down[-k:]])
    return down[:k] if which == "largest" else down[-k:]


def _bounds(ritz: Ritz, chosen: Places) -> Numbers:
    """How far the nearest eigenvalue can be from each chosen value."""
    values, near = ritz.values[chosen], ritz.outside[chosen]
    apart = np.abs(values[:, None] - ritz.values) - ritz.outside
    apart[np.arange(len(chosen)), chosen] = np.inf
    gap = apart.min(axis=1)
    # Halved, as the others are not all where they will be.
    squared = np.divide(2 * near**2, gap, out=near.copy(), where=gap > 2 * near)
    return np.where(near <= TRUSTED * np.abs(values), squared, near)


def _is_floor(krylov: Krylov, view: _View) -> bool:
    """Whether the errors are rounding alone, which no further product makes less."""
    enough = krylov.size > len(view.values) and not krylov.restarts
    return enough and bool((view.outside < view.errors / OFTEN).all())


def _settled(krylov: Krylov, view: _View, which: Which) -> bool:
    """Whether none of what has not converged could belong to the chosen ones."""
    wanted = len(view.values)
    if krylov.whole or krylov.size <= wanted:
        return krylov.whole
    if krylov.restarts:
        # Each space that was exhausted holds one vector of every eigenspace.
        return krylov.ended and krylov.restarts >= wanted
    # One end may have converged while the other is still growing.
    least = np.abs(view.values).min() + view.outside.max()
    return which != "magnitude" or bool((view.reach <= least).all())


def _why(view: _View, allowed: Numbers) -> str:
    """Why the tolerance is not met, and what to do."""
    worst = int(np.argmax(view.errors / np.maximum(allowed, TINY)))
    if view.errors[worst] <= allowed[worst]:
        return (
            f"{view.size} products found eigenvalues, but others may not have been "
            "seen; allow more products"
        )
    text = (
        f"tolerance not met after {view.size} products: eigenvalue "
        f"{view.values[worst]:.4g} may be off by {view.errors[worst]:.2g}, allowed are "
        f"{allowed[worst]:.2g}"
    )
    if view.outside[worst] > view.errors[worst] / 2:
        return f"{text}; allow more products"
    if view.skew[worst] > SKEW * view.scale:
        return f"{text}; the operator is not symmetric: is its loss drawn anew?"
    return f"{text}; products are rounded that much: use float64"
