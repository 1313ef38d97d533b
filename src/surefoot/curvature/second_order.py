"""One batch comes in, its term of the Hessian goes out: double backward, graph kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from surefoot.curvature.errors import NotFiniteError
from surefoot.curvature.forward import (
    Conditions,
    Observer,
    Pieces,
    derivatives,
    loss_of,
    slopes,
)
from surefoot.curvature.space import Space
from surefoot.curvature.terms import OverData, Term, Terms


class Hessian(OverData):
    """The second derivatives of the mean loss.

    Attributes:
        loss: the mean loss [] at which they are taken.
        gradient: its gradient [n], detached, in the order of `space`.
    """

    gradient: torch.Tensor

    def __init__(
        self, terms: Terms, space: Space, *, places: Sequence[int] | None = None
    ) -> None:
        super().__init__(terms, space, places=places)
        assert terms.gradient is not None
        rows = space.split(terms.gradient)
        self.gradient = self.space.flat([rows[place] for place in self._places])


class HessianTerm(Term):
    """The Hessian of one batch's loss: the gradient's graph, differentiated again.

    The vector is handed to the second backward as the gradient's cotangent, which
    needs no scalar product in the graph (Pearlmutter 1994, in reverse over reverse).
    """

    def __init__(self, loss: torch.Tensor, space: Space) -> None:
        self._weights = list(space.tensors)
        self._rows = slopes([loss], space)
        self.loss = loss.detach()
        self.gradient = [None if r is None else r.detach() for r in self._rows]
        _check_finite(self.gradient, space)

    def product(self, vector: list[torch.Tensor], places: Sequence[int]) -> Pieces:
        """Rows at `places` of the Hessian's product with a vector over them."""
        rows = [self._rows[place] for place in places]
        bent = [
            (row, given)
            for row, given in zip(rows, vector, strict=True)
            if row is not None and row.requires_grad
        ]
        if not bent:  # a loss that is linear in the weights
            return [None] * len(places)
        found = derivatives(
            [row for row, _ in bent],
            [self._weights[place] for place in places],
            given=[given for _, given in bent],
        )
        return list(found)


def hessian_term(
    conditions: Conditions, batch: Any, observer: Observer, *, space: Space
) -> Term:
    """The term of one batch; to be called inside of `calm`."""
    del observer
    return HessianTerm(loss_of(conditions, batch), space)


def _check_finite(gradient: Pieces, space: Space) -> None:
    """Raises an error that names the first weight whose gradient is not finite."""
    rows = [row for row in gradient if row is not None]
    if torch.stack([torch.isfinite(row).all() for row in rows]).all():
        return
    names = [
        name
        for name, row in zip(space.names, gradient, strict=True)
        if row is not None and not torch.isfinite(row).all()
    ]
    raise NotFiniteError(
        f"the gradient of {names[0]} is not finite, although the loss is"
        + (f" (and of {len(names) - 1} more weights)" if len(names) > 1 else "")
        + "; look for a square root, a logarithm or a division at zero"
    )
