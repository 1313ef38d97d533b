"""Batches come in, one Term of a sum each goes out: its loss and its products.

The Hessian of the mean loss is the weighted sum of those of the batches; so are its
kin. A Term knows its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, Self

import torch
import torch.distributed as dist

from surefoot.curvature.batches import Batches, counted, held
from surefoot.curvature.errors import CurvatureError
from surefoot.curvature.forward import (
    Conditions,
    Observer,
    Pieces,
    calm,
    observed,
)
from surefoot.curvature.linear import Operator
from surefoot.curvature.space import Space
from surefoot.curvature.wrappers import is_sharded
from surefoot.restore.random_streams import RandomStreams


class Term(ABC):
    """What one batch adds to an operator; it holds the batch's graph."""

    loss: torch.Tensor
    gradient: Pieces | None = None
    notes: tuple[str, ...] = ()

    @abstractmethod
    def product(self, vector: list[torch.Tensor], places: Sequence[int]) -> Pieces:
        """The product with a vector over the weights at some places."""


Maker = Callable[[Conditions, Any, Observer], Term]
"""From conditions and a batch to its Term; called inside of `calm`."""

AGREEMENT = 0.5
"""Power of the number format's step by which the loss of the same batches may differ
from pass to pass: half of the digits. Sums in another order lose two or three; another
mask or another order of the data loses nearly all."""


class Terms:
    """The terms of all batches, kept or made anew, and their weights in the mean.

    Attributes:
        loss: the mean loss [].
        gradient: its gradient [n], if the terms know theirs.
        notes: what a reader of the products should know.
    """

    def __init__(
        self, conditions: Conditions, data: Batches, *, space: Space, make: Maker
    ) -> None:
        self._conditions, self._make, self._groups = conditions, make, data.groups
        self._weights = list(conditions.model.parameters())
        self._versions = [_version(one) for one in self._weights]
        self._batches = held(data)
        counts = counted(self._batches, alone=not self._groups)
        own = torch.tensor(sum(counts), dtype=torch.float32, device=space.device)
        total = self._summed(own).item()
        self._shares = [count / total for count in counts]
        self._streams = RandomStreams()
        self._kept: list[Term] | None = None
        self._recomputes = False
        self.closed = False
        self.notes: tuple[str, ...] = ()
        self.loss, self.gradient = self._first_pass(space, keep=data.keep_graphs)

    def product(
        self, columns: list[torch.Tensor], space: Space, places: Sequence[int]
    ) -> list[torch.Tensor]:
        """Products of the mean with vectors [n] over the weights at some places."""
        self._check_weights()
        split = [space.split(column) for column in columns]
        sums = [_Sum() for _ in columns]
        loss = _Sum()

        def visit(share: float, term: Term) -> None:
            loss.add(share, term.loss)
            for total, vector in zip(sums, split, strict=True):
                total.add(share, space.flat(term.product(vector, places)))

        self._over(visit)
        if self._kept is None:
            self._check_loss(loss.value)
        return [self._summed(total.value) for total in sums]

    def close(self) -> None:
        """Let go of batches and graphs."""
        self.closed = True
        self._kept, self._batches = None, []

    # --- passes -------------------------------------------------------------------

    def _over(self, visit: Callable[[float, Term], None]) -> None:
        """Visit each batch's share of the mean and its term, one graph at a time."""
        if self._kept is not None:
            again = self._recomputes
            with calm(self._conditions) if again else nullcontext():
                for share, term in zip(self._shares, self._kept, strict=True):
                    visit(share, term)
            return
        with calm(self._conditions) as observer:
            self._streams.restore()
            for share, batch in zip(self._shares, self._batches, strict=True):
                visit(share, self._made(batch, observer))

    def _made(self, batch: Any, observer: Observer) -> Term:
        observer.forget()
        try:
            return self._make(self._conditions, batch, observer)
        finally:
            observer.forget()

    def _first_pass(
        self, space: Space, *, keep: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The mean loss and gradient; terms are kept if told."""
        loss, gradient, notes = _Sum(), _Sum(), dict[str, None]()
        kept: list[Term] = []
        with calm(self._conditions) as observer:
            for share, batch in zip(self._shares, self._batches, strict=True):
                term = self._made(batch, observer)
                loss.add(share, term.loss)
                if term.gradient is not None:
                    gradient.add(share, space.flat(term.gradient))
                notes |= dict.fromkeys(term.notes)
                if keep:
                    kept.append(term)
                del term  # its graph, before the next one is made
        self._kept = kept if keep else None
        self._recomputes = observer.recomputes
        self.notes = (*observed(self._conditions, observer), *notes)
        self._own_loss = loss.value
        known = None if gradient.empty else self._summed(gradient.value)
        return self._summed(loss.value), known

    # --- checks -------------------------------------------------------------------

    def _check_weights(self) -> None:
        if self.closed:
            raise CurvatureError(
                "the operator that holds this graph was closed; make a new one"
            )
        if self._versions != [_version(one) for one in self._weights]:
            raise CurvatureError(
                "weights of the model were changed since this operator was made; make "
                "a new operator after each update"
            )

    def _check_loss(self, loss: torch.Tensor) -> None:
        bound = torch.finfo(loss.dtype).eps ** AGREEMENT
        if (loss - self._own_loss).abs() > bound * self._own_loss.abs() + bound:
            raise CurvatureError(
                f"the loss of the same batches was {self._own_loss.item():.6g} at "
                f"first and {loss.item():.6g} now, so that products would not belong "
                "to one matrix; loss_fn must depend on the model and the batch alone "
                "(random numbers of torch, numpy and random are repeated)"
            )

    def _summed(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum over the processes that share the data."""
        if self._groups:
            tensor = tensor.clone()
        for group in self._groups:
            dist.all_reduce(tensor, group=group)
        return tensor


def _version(weight: torch.Tensor) -> tuple[int, int]:
    """What changes when a weight is written to, or gets another memory.

    Writes through `.data` to the same memory cannot be seen.
    """
    return weight._version, 0 if is_sharded(weight) else weight.data_ptr()


class _Sum:
    """A sum of tensors with weights."""

    def __init__(self) -> None:
        self._value: torch.Tensor | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing was added."""
        return self._value is None

    @property
    def value(self) -> torch.Tensor:
        """The sum."""
        assert self._value is not None
        return self._value

    def add(self, share: float, one: torch.Tensor) -> None:
        """Add a share of a tensor."""
        part = one if share == 1 else one * share
        self._value = part if self._value is None else self._value + part


class OverData(Operator):
    """An operator that is a mean over batches, or some of its rows and columns.

    Attributes:
        loss: the mean loss [] at which it was taken.
    """

    def __init__(
        self, terms: Terms, space: Space, *, places: Sequence[int] | None = None
    ) -> None:
        every = places is None
        super().__init__(space if every else space.part(places))
        self._terms, self._every, self._whole = terms, every, space
        self._places = tuple(range(len(space.tensors))) if every else tuple(places)
        self.loss = terms.loss
        self.notes = terms.notes

    def restricted(self, places: Sequence[int]) -> Self:
        """Some rows and columns, from the same graph; its `close` leaves that open."""
        own = [self._places[place] for place in places]
        return type(self)(self._terms, self._whole, places=own)

    def _columns(self, columns: list[torch.Tensor]) -> list[torch.Tensor]:
        return self._terms.product(columns, self.space, self._places)

    def close(self) -> None:
        """Free the graph; a block leaves it to the operator it is from."""
        super().close()
        if self._every:
            self._terms.close()
