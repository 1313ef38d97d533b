"""The sharpness of a model in training: Hessian after Hessian comes in, λ_max goes out.

Each Hessian is new, but its top eigenvector is near that of the one before: Lanczos
begins there and needs a handful of products instead of a dozen.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from surefoot.curvature.estimate import Estimate
from surefoot.curvature.krylov import Krylov, Numbers, Ritz
from surefoot.curvature.matrix import Matrix, Multiplies, Probes, as_operator

TARGET = 5
"""Products that one point should take; those that take more are counted."""

LEAST = 5
"""Products of a point at least, although two often satisfy the bound: where the two top
eigenvalues cross, the old vector is an eigenvector still, and no residual tells that
another has overtaken it. Stopping at the bound alone, values were up to 46 % off; the
fifth product halved the number of points at which that was not noticed."""

LEAST_COLD = 8
"""The same without old vectors."""

TRUSTED = 0.05
"""Relative residual up to which its square over the gap is believed. Over 318 points of
thirteen trainings (an MLP, a ResNet, a GPT; SGD and Adam, preconditioned too; 10 to 50
steps apart) no value that was accepted so was off by more than the tolerance of 1 %;
with any residual one was, and with 0.01 a quarter of them took over 5 products."""

TRUSTED_COLD = 0.01
"""The same without old vectors: there the space is blind to more."""

MARGIN = 1.5
"""Factor on that bound, as the gap is known from the basis only: without it, true
errors were up to 1.3 times the bound on random matrices with outliers, with it 0.7."""

KEPT = 3
"""Vectors that are kept, each with half the weight of the one before in the next start:
one alone is not enough where eigenvalues cross."""

FRESH = 0.1
"""Norm of the random part of the start, beside 1 for the old vectors. At those points,
neither more of it, nor the gradient, nor five vectors made the bound come sooner."""

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

    def see(self, operator: Multiplies) -> Estimate:
        """λ_max of the operator as it is now, with a bound on its error.

        The bound is that of `bound`; where it does not reach the tolerance within
        `MOST` products the estimate says so (`converged` is False).

        Raises:
            CurvatureError: a product is not finite, or the operator not square.
        """
        matrix = as_operator(operator)
        warm = self.vectors is not None and len(self.vectors) == matrix.size
        least = LEAST if warm else LEAST_COLD
        trusted = TRUSTED if warm else TRUSTED_COLD
        probes = Probes(matrix, self._seed + self.points)
        krylov = Krylov(matrix, self._start(matrix, probes, warm=warm), probes)
        while True:
            krylov.grow()
            ritz = krylov.ritz()
            error = bound(ritz, matrix.dtype, trusted=trusted)
            met = error <= self._tolerance * max(
                abs(float(ritz.values[-1])), SMALL * float(np.abs(ritz.values).max())
            )
            enough = krylov.size >= least or krylov.whole
            if (met and enough) or krylov.whole or krylov.size >= MOST:
                break
        self.vectors = krylov.combined(ritz.shares[:, -KEPT:][:, ::-1].copy())
        self.points += 1
        self.products += krylov.size
        self.late += warm and krylov.size > TARGET
        return Estimate(
            float(ritz.values[-1]),
            error,
            krylov.size,
            "warm Lanczos" if warm else "Lanczos",
            converged=met,
            note="" if met else f"tolerance not met after {krylov.size} products",
        )

    def _start(self, matrix: Matrix, probes: Probes, *, warm: bool) -> Tensor:
        """The old vectors with a random part, or a random one."""
        fresh = probes.gaussian()
        if self.vectors is None or not warm:
            return fresh
        known = self.vectors.to(device=matrix.device, dtype=matrix.dtype)
        shares = 0.5 ** torch.arange(known.shape[1]).to(known)
        return known @ (shares / shares.norm()) + FRESH * fresh / fresh.norm()


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
