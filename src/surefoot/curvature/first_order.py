"""One batch comes in, its terms of Gauss–Newton and Fisher matrices go out.

With z what the network gives, J its derivative by the weights and ℓ the loss of z, both
matrices are Jᵀ M J: M is the second derivative of ℓ, or holds squares of the first one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from surefoot.curvature.errors import CurvatureError
from surefoot.curvature.forward import Conditions, Pieces, derivatives, loss_of, slopes
from surefoot.curvature.graph import depends_on
from surefoot.curvature.observer import Observer
from surefoot.curvature.space import Space
from surefoot.curvature.terms import OverData, Term

SEES = "the loss depends on weights otherwise than through what the model returns (a " \
       "penalty?); that part is left out"  # fmt: skip

NO_OUTPUT = (
    "loss_fn never called the model itself, or it returned no tensor with a graph; "
    "expected a call model(...), whose result goes into the loss as tensors, which may "
    "stand in tuples, lists and dicts"
)
NO_LOSS = (
    "loss_fn called no loss function of torch whose likelihood is known; expected "
    "cross_entropy, nll_loss, binary_cross_entropy(_with_logits), mse_loss or "
    "poisson_nll_loss of torch.nn.functional, or their modules"
)


class GaussNewton(OverData):
    """Jᵀ M J: the generalised Gauss–Newton matrix of the mean loss, or a Fisher matrix.

    Attributes:
        loss: the mean loss [] at which it is taken.
    """


class GaussNewtonTerm(Term):
    """Jᵀ H J of one batch, H the second derivative of the loss by the outputs.

    J v is the derivative of Jᵀ u by u, for which a graph of Jᵀ u at u = 0 is kept
    (https://j-towns.github.io/2017/06/12/A-new-trick.html).
    """

    def __init__(self, loss: torch.Tensor, observer: Observer, *, space: Space) -> None:
        self.loss, self._weights = loss.detach(), list(space.tensors)
        if depends_on(loss, self._weights):
            self.notes = (SEES,)
        self._starts, self._ends = _used(loss, observer)
        self._slopes = [
            one
            for one in derivatives([loss], self._starts, again=True)
            if one is not None
        ]
        self._seeds = [torch.zeros_like(z, requires_grad=True) for z in self._ends]
        self._rows = slopes(self._ends, space, given=self._seeds)

    def product(self, vector: list[torch.Tensor], places: Sequence[int]) -> Pieces:
        """Rows at `places` of the product with a vector over them."""
        moved = self._moved(vector, places)
        if moved is None:
            return [None] * len(places)
        pulled = [
            (end, one)
            for end, one in zip(self._ends, self._weighed(moved), strict=True)
            if one is not None
        ]
        weights = [self._weights[place] for place in places]
        given = [one for _, one in pulled]
        return list(derivatives([end for end, _ in pulled], weights, given=given))

    def _moved(
        self, vector: list[torch.Tensor], places: Sequence[int]
    ) -> list[torch.Tensor] | None:
        """J v, as tensors with the shapes of the outputs."""
        pairs = [
            (self._rows[place], one) for place, one in zip(places, vector, strict=True)
        ]
        live = [(row, one) for row, one in pairs if row is not None]
        if not live:
            return None
        rows, given = [row for row, _ in live], [one for _, one in live]
        found = derivatives(rows, self._seeds, given=given)
        return [
            torch.zeros_like(end) if one is None else one
            for end, one in zip(self._ends, found, strict=True)
        ]

    def _weighed(self, moved: list[torch.Tensor]) -> Pieces:
        """M times J v."""
        bent = [
            (slope, one)
            for slope, one in zip(self._slopes, moved, strict=True)
            if slope.requires_grad
        ]
        if not bent:
            return [None] * len(moved)
        given = [one for _, one in bent]
        return list(derivatives([one for one, _ in bent], self._starts, given=given))


class CurvedTerm(GaussNewtonTerm):
    """The term of a loss that is not linear in the outputs, else an error."""

    def __init__(self, loss: torch.Tensor, observer: Observer, *, space: Space) -> None:
        super().__init__(loss, observer, space=space)
        if self._is_linear():
            raise CurvatureError(
                "the second derivative of the loss by what the model returns is zero, "
                "and so is its Gauss-Newton matrix; a model that returns "
                "log-probabilities for nll_loss should return logits for "
                "cross_entropy, or use fisher(..., kind='true')"
            )

    def _is_linear(self) -> bool:
        """Whether the slope stays the same along itself, without being zero."""
        own = [slope.detach() for slope in self._slopes]
        change = self._weighed(own)
        still = all(one is None or not one.any() for one in change)
        return still and any(bool(slope.any()) for slope in own)


class EmpiricalTerm(GaussNewtonTerm):
    """1/N Σ gᵢ gᵢᵀ of one batch, gᵢ the gradient of the loss of sample i.

    Sample i is row i of what the model returns, and the loss is taken for the mean
    over rows, or their sum where a loss function of torch summed.
    """

    def __init__(self, loss: torch.Tensor, observer: Observer, *, space: Space) -> None:
        super().__init__(loss, observer, space=space)
        counts = {len(end) if end.dim() else 0 for end in self._ends}
        if len(counts) != 1 or 0 in counts:
            shapes = ", ".join(str(tuple(end.shape)) for end in self._ends)
            raise CurvatureError(
                f"the model returned tensors of shapes {shapes}; expected one row a "
                "sample in each, so that samples can be told apart"
            )
        [rows] = counts
        summed = any(bool(one == self.loss) for one in observer.sums if not one.dim())
        self._factor = 1 / rows if summed else rows
        self._slopes = [slope.detach() for slope in self._slopes]

    def _weighed(self, moved: list[torch.Tensor]) -> Pieces:
        """Each sample's slope, times its product with the sample's change."""
        along = torch.stack(
            [
                (slope * one).flatten(1).sum(1) if slope.dim() > 1 else slope * one
                for slope, one in zip(self._slopes, moved, strict=True)
            ]
        ).sum(0)
        return [
            slope * (self._factor * along).view(-1, *[1] * (slope.dim() - 1))
            for slope in self._slopes
        ]


def first_order_term(
    conditions: Conditions,
    batch: Any,
    observer: Observer,
    *,
    space: Space,
    kind: type[GaussNewtonTerm],
) -> Term:
    """The term of one batch; to be called inside of `calm`."""
    return kind(loss_of(conditions, batch), observer, space=space)


def _used(
    loss: torch.Tensor, observer: Observer
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Leaves and ends of the outputs that the loss depends on."""
    if not observer.starts:
        raise CurvatureError(NO_LOSS if observer.cut == "losses" else NO_OUTPUT)
    found = derivatives([loss], observer.starts)
    pairs = [
        (start, end)
        for start, end, slope in zip(observer.starts, observer.ends, found, strict=True)
        if slope is not None
    ]
    if not pairs:
        raise CurvatureError("the loss does not depend on what the model returns")
    return [start for start, _ in pairs], [end for _, end in pairs]
