"""Vectors come in, what they tell of a symmetric matrix goes out.

Unlike the recurrence of Lanczos it may begin at several vectors and go on in any
direction; it keeps the products beside the basis, so that every residual is known as it
is.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from surefoot.curvature.errors import NotFiniteError
from surefoot.curvature.krylov import Numbers, Ritz
from surefoot.curvature.matrix import Matrix

NOTHING = 16
"""What is left of a vector below so many roundings of it is rounding."""


class Basis:
    """An orthonormal basis and the matrix's products with it.

    Takes two vectors of memory for each product.
    """

    def __init__(self, matrix: Matrix) -> None:
        self._matrix = matrix
        self._vectors: list[Tensor] = []
        self._products: list[Tensor] = []
        self._rounding = float(torch.finfo(matrix.dtype).eps)

    @property
    def size(self) -> int:
        """Vectors in it, and products that were made."""
        return len(self._vectors)

    @property
    def whole(self) -> bool:
        """Whether it spans the whole space."""
        return self.size == self._matrix.size

    def add(self, vector: Tensor) -> bool:
        """Multiply what is new in a vector; False if there is nothing new.

        Raises:
            NotFiniteError: the product holds NaN or infinity.
        """
        norm = float(vector.norm())
        for _ in range(2 if self._vectors else 0):
            basis = torch.stack(self._vectors)
            vector = torch.addmv(vector, basis.T, basis @ vector, alpha=-1)
        left = float(vector.norm())
        if self.whole or left <= NOTHING * self._rounding * norm:
            return False
        unit = vector / left
        product = self._matrix @ unit
        if not torch.isfinite(product).all():
            raise NotFiniteError(
                f"product {self.size + 1} with the operator holds NaN or infinity; "
                "expected finite numbers; check the weights and the loss, or compute "
                "in float32"
            )
        self._vectors.append(unit)
        self._products.append(product)
        return True

    def ritz(self) -> tuple[Ritz, Tensor]:
        """Values, ascending, and their residuals, `[n, size]`."""
        basis, products = torch.stack(self._vectors), torch.stack(self._products)
        found = (basis @ products.T).double().cpu().numpy()
        values, shares = np.linalg.eigh((found + found.T) / 2)
        weights = self._weights(shares)
        residuals = products.T @ weights
        residuals -= (basis.T @ weights) * self._weights(values)
        outside = residuals.norm(dim=0).double().cpu().numpy()
        skew = np.zeros_like(values)  # a lack of symmetry is in the residuals
        return Ritz(values, shares, outside, skew), residuals

    def combined(self, shares: Numbers) -> Tensor:
        """Columns `[n, k]` made of the basis with `shares` `[size, k]`."""
        return torch.stack(self._vectors).T @ self._weights(shares)

    def _weights(self, numbers: Numbers) -> Tensor:
        return torch.from_numpy(numbers.copy()).to(self._vectors[0])
