"""Probes and their products come in, each seen against a basis of all others goes out.

The leave-one-out sketches of XTrace and XDiag (Epperly, Tropp and Webber 2024): with
Y = AΩ = QR, the range of all columns of Y but the i-th is Q without its direction s_i,
the i-th column of R⁻ᵀ, normalised. No second factorisation is needed.
"""

from __future__ import annotations

import torch
from torch import Tensor


class LeftOut:
    """The range of products Y `[n, k]`, and what of each lies outside the others'.

    `basis` Q `[n, k]` is orthonormal, `factor` R `[k, k]` float64, and `alone`
    `[k, k]` holds s_i as column i: the direction of Q that only product i has.
    """

    def __init__(self, products: Tensor) -> None:
        self.basis, factor = torch.linalg.qr(products)
        self.factor = factor.double().cpu()
        # Products of an operator of low rank leave zeros on the diagonal: a rounding
        # in their place makes the direction arbitrary, as it is.
        floor = torch.finfo(products.dtype).eps * self.factor.norm() + 1e-150
        diagonal = self.factor.diagonal()
        lift = torch.where(diagonal.abs() < floor, floor - diagonal, 0.0)
        inverse = torch.linalg.solve_triangular(
            self.factor + torch.diag(lift), torch.eye(len(lift)).to(lift), upper=True
        )
        self.alone = inverse.T / inverse.norm(dim=1)
        self._heights = 1 / inverse.norm(dim=1)

    def without(self, inside: Tensor) -> Tensor:
        """Coefficients `[k, k]` in Q, column i without its direction i."""
        return inside - self.alone * (self.alone * inside).sum(0)

    def share(self) -> float:
        """How much of the products' squares no other product explains, 0 to 1.

        1 for a flat spectrum, little where few eigenvalues dominate: what there is
        to gain by deflation, known before a product is spent on it.
        """
        total = float(self.factor.square().sum())
        return float(self._heights.square().sum()) / total if total > 0 else 0.0
