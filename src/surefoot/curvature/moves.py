"""Weights come in, are moved along directions, and go out as they were, bit for bit."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from surefoot.curvature.space import Space


class Moves:
    """Some weights and copies of them, from which each move begins anew.

    Nothing is subtracted again: going back is copying, so that no rounding remains.
    """

    def __init__(self, over: Space) -> None:
        self._weights = [one.detach() for one in over.tensors]
        self._kept = [one.clone() for one in self._weights]

    @torch.no_grad()
    def to(self, direction: Sequence[Tensor], step: float) -> None:
        """Put the weights at kept + step · direction."""
        for weight, kept, along in zip(
            self._weights, self._kept, direction, strict=True
        ):
            weight.copy_(torch.add(kept, along, alpha=step))

    @torch.no_grad()
    def back(self) -> None:
        """Put the weights back."""
        for weight, kept in zip(self._weights, self._kept, strict=True):
            weight.copy_(kept)


@contextmanager
def moving(over: Space) -> Generator[Moves]:
    """Move weights inside; afterwards they are as they were, also when it raises.

    Takes memory for two copies of the weights. A graph that was made before, of a loss
    or an operator, does not outlive it, as torch sees that weights were written.

    >>> from surefoot.curvature.space import space
    >>> model = torch.nn.Linear(2, 1)
    >>> before = model.weight.detach().clone()
    >>> over = space(model, "weight")
    >>> with moving(over) as moves:
    ...     moves.to([torch.ones(1, 2)], 0.1)
    >>> torch.equal(model.weight, before)
    True
    """
    moves = Moves(over)
    try:
        yield moves
    finally:
        moves.back()


def norm_of(over: Space) -> float:
    """The Euclidean norm of the weights, in float64."""
    return math.hypot(*(float(one.detach().double().norm()) for one in over.tensors))
