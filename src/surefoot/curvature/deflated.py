"""Samples of zᵀAz and a growing basis come in, the trace of A with its error goes out.

tr A = tr VᵀAV + tr (I-VVᵀ)A(I-VVᵀ) for any orthonormal V. With the basis of Lanczos the
first part and the coefficients of the second are known without further products, so a
probe that was multiplied once serves every basis that comes after it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from surefoot.curvature.errors import NotFiniteError
from surefoot.curvature.krylov import Krylov, Numbers
from surefoot.curvature.left_out import LeftOut
from surefoot.curvature.matrix import Matrix, Probes


@dataclass(frozen=True, slots=True)
class Spread:
    """A trace, the variance of one sample of it, their number, and how it was had."""

    value: float
    variance: float
    samples: int
    way: str = "hutchinson"

    @property
    def error(self) -> float:
        """One standard error of the value."""
        return math.sqrt(self.variance / self.samples)


def sphere_variance(squares: Numbers, trace: float, size: int) -> float:
    """Variance of zᵀAz for z uniform on the sphere of radius √size.

    2 size/(size+2) (‖A‖² - tr²/size), Frobenius; `squares` are samples of ‖Az‖², whose
    mean is ‖A‖². The variance of the samples themselves fails with them: where one
    eigenvalue dominates and its direction was missed, both are too small, and 95 %
    intervals held in 85 to 90 % of 500 draws.
    """
    if size < 2:
        return 0.0
    norm = float(np.mean(squares))
    return max(0.0, 2 * size / (size + 2) * (norm - trace**2 / size))


class Deflated:
    """Probes with their products, and a Krylov basis that takes up what dominates.

    `sample` and `deflate` cost one product each; `spread` says what is known then.
    `kept` is False after `forget`.
    """

    def __init__(self, matrix: Matrix, basis: Krylov, probes: Probes) -> None:
        self.basis = basis
        self._matrix = matrix
        self._probes = probes
        self._pairs: list[Tensor] = []
        self._own = np.zeros((2, 0))
        self.kept = True
        # Basis vectors and the one ahead, times probes and products, of each sample.
        self._inside = np.zeros((0, 2, 0))

    @property
    def samples(self) -> int:
        """Number of probes that were multiplied."""
        return self._own.shape[1]

    def sample(self) -> None:
        """Multiply one more probe."""
        probe = self._probes.sphere()
        pair = torch.stack([probe, self._matrix @ probe])
        own = (pair @ pair[1]).double().cpu().numpy()
        if not np.isfinite(own).all():
            raise NotFiniteError(
                f"product {self._matrix.products} with the operator holds NaN or "
                "infinity; expected finite numbers; check the weights and the loss"
            )
        if self.kept:
            self._pairs.append(pair)
        self._own = np.column_stack([self._own, own])
        if len(self._inside):
            known = torch.cat(
                [self.basis.inside(pair.T), (pair @ self.basis.ahead)[None]]
            )
            column = known.double().cpu().numpy()[:, :, None]
            self._inside = np.concatenate([self._inside, column], axis=2)

    def deflate(self) -> None:
        """Let the basis grow by one vector."""
        if not len(self._inside):
            self._look_ahead()
        self.basis.grow()
        self._look_ahead()

    def forget(self) -> None:
        """Keep no probe any more: no basis will be begun."""
        self._pairs.clear()
        self.kept = False

    def _look_ahead(self) -> None:
        rows = [pair @ self.basis.ahead for pair in self._pairs]
        row = torch.stack(rows, dim=1).double().cpu().numpy()
        earlier = [self._inside] if len(self._inside) else []
        self._inside = np.concatenate([*earlier, row[None]])

    def unexplained(self) -> float:
        """Share of the products' squares that no other product explains, 0 to 1."""
        return LeftOut(torch.stack([pair[1] for pair in self._pairs], dim=1)).share()

    def spread(self) -> Spread:
        """The trace as it is known by now."""
        size = self._matrix.size
        if not self.basis.size:
            value = float(self._own[0].mean())
            return Spread(
                value, sphere_variance(self._own[1], value, size), self.samples
            )
        found = self.basis.coefficients()
        held, outside = float(np.trace(found)), size - self.basis.size
        if not outside:
            return Spread(held, 0.0, self.samples, "lanczos")
        rest, squares = self._rest(found)
        value = float(rest.mean())
        variance = sphere_variance(squares, value, outside)
        return Spread(held + value, variance, self.samples, "lanczos")

    def _rest(self, found: Numbers) -> tuple[Numbers, Numbers]:
        """Samples of the trace outside the basis, and of its squared norm."""
        (probes, products), size = np.moveaxis(self._inside, 1, 0), self.basis.size
        inside, ahead = probes[:size], products[size]
        product = products[:size]
        values = self._own[0] - 2 * (inside * product).sum(0)
        values += (inside * (found @ inside)).sum(0)
        last = self.basis.coupling * inside[-1]
        squares = self._own[1] - (product**2).sum(0) - 2 * last * ahead + last**2
        # Probes on the sphere, seen outside the basis, are put back on a sphere.
        whole = self._matrix.size
        scale = (whole - size) / (whole - (inside**2).sum(0))
        return values * scale, np.maximum(squares, 0.0) * scale
