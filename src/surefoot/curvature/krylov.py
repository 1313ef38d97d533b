"""A symmetric operator and a first vector come in, a basis that grows goes out.

The recurrence of Lanczos (1950) takes the two last vectors out of each product, then
classical Gram-Schmidt against all that came before: without it, converged
eigenvalues come back as copies. What the recurrence leaves along older vectors is of
the size of rounding, so that one pass is enough but where much cancels. All
coefficients are kept, not only the three of the recurrence: what should be zero among
them tells how far the operator is from symmetric, which the stated errors contain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from surefoot.curvature.errors import NotFiniteError
from surefoot.curvature.matrix import Matrix, Probes

Numbers = npt.NDArray[np.float64]

ROWS = 8
"""Basis vectors are kept in blocks of so many: no copying, and few unused rows."""

SMALL = 50_000
"""Vectors shorter than this are kept in blocks of 64: less work for each product."""

CANCELLED = 0.5
"""Where an orthogonalisation leaves less than this of a vector, rounding may have left
something inside, and it is repeated (Daniel, Gragg, Kaufman and Stewart 1976)."""

NOTHING = 100
"""A remainder below so many roundings of the operator's norm is rounding: the basis
spans an invariant subspace."""


@dataclass(frozen=True, slots=True)
class Ritz:
    """Eigenpairs of the operator seen through a basis, ascending.

    `values` `[m]` and `shares` `[m, m]`: column `i` says how much of each basis vector
    is in Ritz vector `i`. `outside` `[m]` is the part of the residual `A y - θ y` that
    lies outside the basis, `skew` `[m]` the part inside: 0 for a symmetric operator.
    """

    values: Numbers
    shares: Numbers
    outside: Numbers
    skew: Numbers


class Krylov:
    """An orthonormal basis, and the operator's coefficients on it.

    `size` vectors so far. `whole` is True when there is no direction left, `restarts`
    counts the fresh random vectors that were taken because the basis had become an
    invariant subspace.
    """

    def __init__(self, matrix: Matrix, first: Tensor, probes: Probes) -> None:
        self.size = 0
        self.restarts = 0
        self._matrix = matrix
        self._probes = probes
        self._blocks: list[Tensor] = []
        self._rows = ROWS if matrix.size >= SMALL else 8 * ROWS
        self._found = np.zeros((0, 0))
        self._norm = 0.0
        self._scale = 0.0
        self.rounding = float(torch.finfo(matrix.dtype).eps)
        self._next = first / first.norm()

    @property
    def whole(self) -> bool:
        """Whether the basis spans the whole space."""
        return self.size == self._matrix.size

    @property
    def ended(self) -> bool:
        """Whether the basis spans an invariant subspace: nothing new was left."""
        return self._norm == 0.0

    def grow(self) -> None:
        """Multiply the newest vector, and keep what is new in the product.

        Raises:
            NotFiniteError: the product is not finite.
        """
        self._keep(self._next)
        product = self._matrix @ self._next
        # In a small space calls cost more than what they compute: two passes are fewer.
        large = self._matrix.size >= SMALL
        near, first = self._beyond_last(product) if large else self._once(product)
        rest, second = self._once(near)
        # One copy to the host a product: it decides whether to go on.
        norms = torch.stack([near.norm(), rest.norm()])
        *column, before, norm = torch.cat([first + second, norms]).tolist()
        if norm < CANCELLED * before:
            rest, third = self._once(rest)
            column = (first + second + third).tolist()
            norm = rest.norm().item()
        if not math.isfinite(math.fsum(map(abs, column)) + norm):
            raise NotFiniteError(
                f"product {self.size} with the operator holds NaN or infinity; "
                "expected finite numbers; check the weights and the loss, or compute "
                "in float32"
            )
        self._scale = max(self._scale, *map(abs, column), norm)
        small = NOTHING * self.rounding * self._scale
        known = norm > small and not self.whole
        self._record(column, norm if known else 0.0)
        if known:
            self._next = rest / norm
        elif not self.whole:
            self.restarts += 1
            self._next = self._fresh()

    def _record(self, column: list[float], norm: float) -> None:
        size = self.size
        if size > len(self._found):
            larger = np.zeros((2 * size + ROWS, 2 * size + ROWS))
            larger[: size - 1, : size - 1] = self.coefficients(size - 1)
            self._found = larger
        self._found[:size, size - 1] = column
        if size > 1:
            self._found[size - 1, size - 2] = self._norm
        self._norm = norm

    def _beyond_last(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        """The part beyond the two last vectors, and the coefficients on all."""
        inside = vector.new_zeros(self.size)
        for place in range(max(0, self.size - 2), self.size):
            known = self._blocks[place // self._rows][place % self._rows]
            inside[place] = known @ vector
            vector = torch.add(vector, known * -inside[place])
        return vector, inside

    def outside(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        """The part `[n]` outside the basis, and the coefficients `[size]` inside."""
        vector, first = self._once(vector)
        vector, second = self._once(vector)
        return vector, first + second

    @property
    def ahead(self) -> Tensor:
        """The next basis vector `[n]`."""
        return self._next

    @property
    def coupling(self) -> float:
        """How much of the operator on the newest vector lies along the next one."""
        return self._norm

    def inside(self, vectors: Tensor) -> Tensor:
        """Coefficients `[m, k]` of columns `[n, k]` along the basis."""
        return torch.cat([block @ vectors for block in self._filled()])

    def _once(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        blocks = self._filled()
        inside = [block @ vector for block in blocks]
        for block, part in zip(blocks, inside, strict=True):
            vector = torch.addmv(vector, block.T, part, alpha=-1)
        return vector, torch.cat(inside)

    def _fresh(self) -> Tensor:
        """A random direction outside the basis."""
        vector, _ = self.outside(self._probes.gaussian())
        vector, _ = self.outside(vector / vector.norm())
        return vector / vector.norm()

    def _keep(self, vector: Tensor) -> None:
        row = self.size % self._rows
        if row == 0:
            rows = min(self._rows, self._matrix.size - self.size)
            self._blocks.append(vector.new_empty(rows, vector.numel()))
        self._blocks[-1][row] = vector
        self.size += 1

    def _filled(self) -> list[Tensor]:
        last = (self.size - 1) % self._rows + 1
        return [*self._blocks[:-1], self._blocks[-1][:last]]

    def coefficients(self, size: int | None = None) -> Numbers:
        """`[m, m]`: entry `i, j` is basis vector `i` times the operator on `j`."""
        return self._found[: (size := self.size if size is None else size), :size]

    def ritz(self) -> Ritz:
        """What the basis tells of the spectrum."""
        found = self.coefficients()
        values, shares = np.linalg.eigh((found + found.T) / 2)
        skew = np.linalg.norm((found - found.T) / 2 @ shares, axis=0)
        return Ritz(values, shares, self._norm * np.abs(shares[-1]), skew)

    def combined(self, shares: Numbers) -> Tensor:
        """Columns `[n, k]` made of the basis with `shares` `[size, k]`."""
        weights = torch.from_numpy(shares).to(self._next)
        parts = weights.split([len(block) for block in self._filled()])
        first, *others = zip(self._filled(), parts, strict=True)
        result = first[0].T @ first[1]
        for block, part in others:
            result = result.addmm(block.T, part)
        return result
