"""The sharpness of a model in training: Hessian after Hessian comes in, λ_max goes out.

Each Hessian is new, but its top eigenvectors are near those of the one before: a search
that begins there needs a handful of products instead of a dozen. Each further vector is
the residual of the one that may reach highest.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from surefoot.curvature.basis import Basis
from surefoot.curvature.estimate import Estimate
from surefoot.curvature.krylov import Numbers, Ritz
from surefoot.curvature.matrix import Multiplies, Probes, as_operator

TARGET = 5
"""Products that one point should take; those that take more are counted."""

LEAST = 5
"""Products of a point at least, although two often satisfy the bound: where the two top
eigenvalues cross, the old vector is an eigenvector still, and no residual tells that
another has overtaken it. Stopping at the bound alone, values were up to 46 % off; the
fifth product halved the number of points at which that was not noticed."""

LEAST_COLD = 8
"""The same without old vectors, or where they have lost their meaning."""

SURPRISING = 2.0
"""Where the value has changed by this factor since the last time, the old vectors have
lost their meaning: so it is from the first step of Adam to the next."""

TRUSTED = 0.05
"""Relative residual up to which its square over the gap is believed. It was chosen on
318 points of thirteen trainings, where it accepted no value that was off by more than
1 %, any residual one, while with 0.01 a quarter of the points took over 5 products.
benchmarks/curvature/tracking.py counts both on others."""

TRUSTED_COLD = 0.01
"""The same without old vectors: there the space is blind to more."""

MARGIN = 1.5
"""Factor on that bound, as the gap is known from the basis only: without it, true
errors were up to 1.3 times the bound on random matrices with outliers, with it 0.7."""

KEPT = 3
"""Vectors that are kept. The next time begins at the first, and at the others together
with the gradient: two products. One mixture of all three began almost orthogonal to the
new top eigenvector now and then, where its parts cancelled. Over 340 points of twelve
trainings (benchmarks/curvature/tracking.py) 4 values of the mixture were off by more
than 1 %, 2 of this (by 2.5 % and 18 %): a direction that has just begun to curve can
still be overlooked. 16 % of the points took more than 5 products, 14 at most."""

FRESH = 0.1
"""Norm of the random part of the first vector, beside 1 for the old one."""

SMALLEST = 1e-30
"""A gradient of zero has no direction."""

MOST = 100
"""Products after which a point is given up: the best estimate, marked as such."""

SMALL = 1e-2
"""The tolerance is relative to λ_max, or to this share of the largest magnitude."""

ROUNDINGS = 4
"""Each bound contains so many roundings of the largest eigenvalue."""


class Tracker:
    """The largest eigenvalue of a symmetric operator that changes from call to call.

    It keeps a few vectors between calls. `points` counts calls, `products` all products
    with operators, `late` the points that took more than `TARGET` of them; the first,
    which has no vector to begin at, is not counted as late.

    Args:
        tolerance: relative error of each value.
        vectors: where to begin, `[n, k]`, the first the likeliest; None begins at
            random.
        seed: of the random part of each start.

    >>> tracker = Tracker()
    >>> matrix = torch.diag(torch.linspace(0, 1, 50) ** 8)
    >>> for step in range(3):
    ...     found = tracker.see(matrix * (1 + step / 10))
    >>> abs(found.value - 1.2) <= found.error <= 0.012, found.products <= 5
    (True, True)
    """

    def __init__(
        self,
        *,
        tolerance: float = 1e-2,
        vectors: Tensor | None = None,
        seed: int = 0,
    ) -> None:
        self.vectors = vectors
        self.points = self.products = self.late = 0
        self._tolerance, self._seed = tolerance, seed
        self._value: float | None = None

    def see(self, operator: Multiplies, *, gradient: Tensor | None = None) -> Estimate:
        """λ_max of the operator as it is now, with a bound on its error.

        The bound is that of `bound`; where it does not reach the tolerance within
        `MOST` products the estimate says so (`converged` is False). `gradient` `[n]`
        of the loss at the same weights shows directions in which it has just begun to
        curve.

        Raises:
            CurvatureError: a product is not finite, or the operator not square.
        """
        matrix = as_operator(operator)
        probes = Probes(matrix, self._seed + self.points)
        old = self.vectors
        warm = old is not None and len(old) == matrix.size
        starts = [probes.gaussian()]
        if old is not None and warm:
            starts = _starts(old.to(starts[0]), starts[0], gradient)
        basis = Basis(matrix)
        for vector in starts:
            basis.add(vector)
        while True:
            ritz, residuals = basis.ritz()
            known = warm and self._likely(float(ritz.values[-1]))
            least, trusted = (LEAST, TRUSTED) if known else (LEAST_COLD, TRUSTED_COLD)
            error = bound(ritz, matrix.dtype, trusted=trusted)
            met = basis.whole or error <= self._allowed(ritz)
            ended = met and (basis.size >= least or basis.whole)
            if ended or basis.size >= MOST:
                break
            # Whichever may reach highest, not the one that is highest so far.
            place = int(np.argmax(ritz.values + ritz.outside))
            if not basis.add(residuals[:, place]):
                basis.add(probes.gaussian())
        self.vectors = basis.combined(ritz.shares[:, -KEPT:][:, ::-1])
        self._value = float(ritz.values[-1])
        self.points += 1
        self.products += basis.size
        self.late += warm and basis.size > TARGET
        return Estimate(
            float(ritz.values[-1]),
            error,
            basis.size,
            "warm Rayleigh-Ritz" if warm else "Rayleigh-Ritz",
            converged=met,
            note="" if met else f"tolerance not met after {basis.size} products",
        )

    def _likely(self, value: float) -> bool:
        """Whether a value is of the size of the last one, so that old vectors count."""
        if self._value is None or self._value <= 0:
            return self._value is None
        return 1 / SURPRISING <= value / self._value <= SURPRISING

    def _allowed(self, ritz: Ritz) -> float:
        """The error that is allowed."""
        size = np.abs(ritz.values)
        return self._tolerance * max(float(size[-1]), SMALL * float(size.max()))


def _starts(old: Tensor, fresh: Tensor, gradient: Tensor | None) -> list[Tensor]:
    """The first old vector, slightly mixed; the others, with the gradient."""
    first = old[:, 0] + FRESH * fresh / fresh.norm()
    if old.shape[1] == 1:
        return [first] if gradient is None else [first, gradient]
    weights = 0.5 ** torch.arange(old.shape[1] - 1).to(old)
    others = old[:, 1:] @ weights
    if gradient is not None:
        along = gradient.to(old) / gradient.norm().clamp_min(SMALLEST)
        others = others + torch.where(along @ others < 0, -along, along)
    return [first, others]


def bound(ritz: Ritz, dtype: torch.dtype, *, trusted: float) -> float:
    """How far the largest eigenvalue can be from the largest Ritz value.

    With the residuals R of the k uppermost Ritz vectors and the distance η from the
    first to where the next Ritz value may reach, 2‖R‖² / (η + √(η² + 4‖R‖²)) for the
    best k (Li and Li 2005, "A note on eigenvalues of perturbed Hermitian matrices"),
    times MARGIN: never more than the residual of the first, its square over the gap
    where that is small, and small as well where the two uppermost are close. That is
    believed up to a relative residual of `trusted`. It takes for granted that no
    eigenvalue above hides outside of the basis, which no method can know that has not
    seen it. What rounding of `dtype` and a lack of symmetry add is contained.

    >>> values, outside = np.array([0.0, 0.4, 1.0]), np.array([0.1, 0.1, 0.1])
    >>> ritz = Ritz(values, np.eye(3), outside, np.zeros(3))
    >>> round(bound(ritz, torch.float64, trusted=0.2), 4)
    0.0289
    """
    values, outside = ritz.values[::-1], ritz.outside[::-1]
    best = float(outside[0])
    apart = values[0] - values[1:] - outside[1:]
    squares = np.cumsum(outside**2)[:-1][apart > 0]
    if len(squares) and best <= trusted * abs(float(values[0])):
        found = _quadratic(squares, apart[apart > 0])
        best = min(best, MARGIN * float(found.min()))
    rounding = ROUNDINGS * torch.finfo(dtype).eps * float(np.abs(values).max())
    return best + float(ritz.skew[-1]) + rounding


def _quadratic(squares: Numbers, apart: Numbers) -> Numbers:
    """2R² / (η + √(η² + 4R²)) of R² and η > 0."""
    return 2 * squares / (apart + np.sqrt(apart**2 + 4 * squares))
