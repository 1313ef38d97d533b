"""A model, batches, a loss and a slice come in; losses at places of it go out.

The weights are moved in place, from copies that are kept: each place is computed from
the centre anew, so nothing adds up, and the model ends as it was, bit for bit.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from surefoot.curvature.batches import counted, held, several
from surefoot.landscape.directions import Slice
from surefoot.landscape.weights import Vector, weights_of
from surefoot.restore.one_number import one_number
from surefoot.restore.random_streams import RandomStreams
from surefoot.restore.still import still
from surefoot.types import LossFunction

Place = Sequence[float]
"""Coordinates on a slice."""


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What is evaluated: one loss over fixed batches, on one slice of a model.

    `training` is the mode of all modules (None: each as it is). `seed` is that of the
    random numbers that dropout and its kin draw, the same at every place.
    `differentiable` is for losses that need gradients of their own (gradient
    penalties, physics-informed nets).
    """

    model: nn.Module
    batches: tuple[Any, ...]
    loss_fn: LossFunction
    slice: Slice
    training: bool | None = None
    seed: int = 0
    differentiable: bool = False


@contextmanager
def moving(model: nn.Module, on: Slice) -> Generator[Callable[[Place], None]]:
    """A function that moves a model to a place on a slice, for as long as it is open.

    Afterwards its weights are as they were, bit for bit.

    Raises:
        ValueError: the slice was made for another model.
    """
    found = weights_of(model)
    if tuple(found) != on.names:
        raise ValueError("the slice was made for a model with other weights")
    with _Moved([weight.data for weight in found.values()], on) as moved:
        yield moved.to


@contextmanager
def loss_on(task: Task) -> Generator[Callable[[Place], float]]:
    """A function from places on the slice to the loss there, for as long as it is open.

    Losses are means over samples, added up in float64; NaN and infinities stay what
    they are. Afterwards weights, buffers, modes and random streams are as they were,
    bit for bit, also when the inside raises or is interrupted.

    Raises:
        ValueError: the loss is not one number, or the slice was made for another
            model.
    """
    counts = counted(task.batches, alone=True)
    with (
        still(task.model, training=task.training),
        torch.set_grad_enabled(task.differentiable),
        moving(task.model, task.slice) as move,
    ):
        streams = _seeded(task.seed)

        def loss(place: Place) -> float:
            move(place)
            streams.restore()
            given = [task.loss_fn(task.model, batch) for batch in task.batches]
            return _weighted([one_number(one).detach() for one in given], counts) / sum(
                counts
            )

        yield loss


def batches_of(data: Any) -> tuple[Any, ...]:
    """The batches of `Batches` or a data loader, in the order it gives now; else one.

    Random streams stay as they were, so that who asks next gets the same order.

    Raises:
        ValueError: there is none, or processes hold a share of them each.
    """
    batches = several(data)
    if batches.groups:
        raise ValueError(
            "a surface is drawn by one process; give it all batches, and no groups"
        )
    streams = RandomStreams()
    try:
        return tuple(held(batches))
    finally:
        streams.restore()


class _Moved:
    """Weights that are moved over a slice, and put back at the end."""

    def __init__(self, targets: list[Tensor], on: Slice) -> None:
        self._targets, self._kept = targets, [one.clone() for one in targets]
        self._centre = on.centre
        still_ones = [not _moves(at, on) for at in range(len(targets))]
        self._moving = [at for at, stays in enumerate(still_ones) if not stays]
        self._ways = [_of(direction, self._moving) for direction in on.directions]
        self._weights = [targets[at] for at in self._moving]
        self._row = [on.centre[at].clone() for at in self._moving]
        self._at: float | None = None

    def __enter__(self) -> _Moved:
        _put(self._targets, list(self._centre))
        return self

    def __exit__(self, *_: object) -> None:
        _put(self._targets, self._kept)

    def to(self, place: Place) -> None:
        """Move to `centre + beta * second`, then `+ alpha * first`.

        The sum without alpha serves a whole row of places.
        """
        beta = place[1] if len(place) > 1 else 0.0
        if beta != self._at:
            _put(self._row, _of(self._centre, self._moving))
            if len(self._ways) > 1:
                _add(self._row, self._ways[1], beta)
            self._at = beta
        parts = zip(self._weights, self._row, self._ways[0], strict=True)
        for weight, base, way in parts:  # one pass over memory, where two ops take two
            torch.add(base, way, alpha=place[0], out=weight)


def _put(targets: list[Tensor], values: list[Tensor]) -> None:
    torch._foreach_copy_(targets, values)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]


def _add(targets: list[Tensor], way: list[Tensor], factor: float) -> None:
    torch._foreach_add_(targets, way, alpha=factor)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]


def _moves(at: int, on: Slice) -> bool:
    return any(bool(direction[at].any()) for direction in on.directions)


def _of(vector: Vector, chosen: list[int]) -> list[Tensor]:
    return [vector[at] for at in chosen]


def _seeded(seed: int) -> RandomStreams:
    """The random streams right after seeding; those of the caller are put back later.

    A seed for devices that have not started would be kept for when they do: they are
    left alone.
    """
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
    np.random.seed(seed)
    random.seed(seed)
    return RandomStreams()


def _weighted(losses: list[Tensor], counts: list[float]) -> float:
    """The sum over batches times their samples; one copy to the host."""
    told = cast(list[float], torch.stack(losses).tolist())
    if not all(map(math.isfinite, told)):
        return sum(told)  # NaN or an infinity, whichever they add up to
    return math.fsum(a * n for a, n in zip(told, counts, strict=True))
