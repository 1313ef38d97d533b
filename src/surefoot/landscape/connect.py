"""Two trained models come in; a curve of low loss between them goes out, if found."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from surefoot.landscape import weights
from surefoot.landscape.directions import Floats64, Slice
from surefoot.landscape.evaluate import Place, Task, batches_of, loss_on
from surefoot.landscape.numbers import barrier
from surefoot.landscape.path import Checkpoint, through
from surefoot.landscape.weights import Vector
from surefoot.restore.still import still
from surefoot.types import LossFunction


@dataclass(frozen=True, slots=True)
class Learning:
    """How a curve is learnt.

    steps: updates of the bend, each at a random place of the curve, on the next batch.
    lr: of Adam. The bend starts halfway between the ends.
    seed: of the places, and of what dropout draws.
    points: places at which the curve is judged, both ends included.
    training: the mode of all modules; None leaves each in its own. Running statistics
        of norm layers fit neither end: the mode of training is the safe one.
    """

    steps: int = 200
    lr: float = 0.01
    seed: int = 0
    points: int = 21
    training: bool | None = True


@dataclass(frozen=True, slots=True, eq=False)
class Connection:
    """A quadratic Bézier curve from one model to another, and the straight line.

    `places` runs from 0 to 1; `curve` and `straight` (shape `[points]`) are the losses
    at them, `barrier` and `barrier_straight` how far they rise above the line between
    the losses of the ends. `bend` is the control point, by name of the weight. `plane`
    holds both ends, the bend, and the curve as its path.
    """

    places: Floats64
    curve: Floats64
    straight: Floats64
    barrier: float
    barrier_straight: float
    bend: Mapping[str, Tensor]
    plane: Slice


def connect(
    model: nn.Module,
    data: Any,
    *,
    loss_fn: LossFunction,
    ends: Sequence[Checkpoint],
    learning: Learning | None = None,
) -> Connection:
    """Look for a curve of low loss between two models (Garipov 2018, 1802.10026).

    φ(t) = (1-t)² a + 2t(1-t) c + t² b, where c is learnt: the gradient of the loss at
    φ(t), times 2t(1-t), over random t. A copy of the model is trained; the model, its
    buffers and all random streams stay as they were.

    Args:
        model: of the kind of both ends; its values do not matter, its buffers do where
            norm layers are in eval mode.
        data: batches to learn from, and to judge by.
        loss_fn: `loss_fn(model, batch)`.
        ends: two state dicts or models.
        learning: how; see `Learning`.

    Raises:
        ValueError: there are not two ends, they are equal, or one is of another model.
    """
    learning = learning or Learning()
    if len(ends) != 2:
        raise ValueError(f"a curve has two ends, not {len(ends)}")
    batches = batches_of(data)
    own = copy.deepcopy(model)
    for weight in own.parameters():
        weight.requires_grad_(weight.is_floating_point())
    line = through(own, ends, labels=("one end", "other end"))
    a = line.centre
    b = weights.combined(a, line.directions[0], 1.0)
    bend = _learnt(own, batches, loss_fn, (a, b), learning)
    plane = _plane(own, (a, b), bend)
    places = np.linspace(0, 1, learning.points)
    task = Task(own, batches, loss_fn, plane, learning.training, learning.seed)
    curve = _losses(task, [tuple(at) for at in _coordinates(plane, places).tolist()])
    straight = _losses(replace(task, slice=line), [(float(t),) for t in places])
    return Connection(
        places,
        curve,
        straight,
        barrier(curve),
        barrier(straight),
        dict(zip(line.names, bend, strict=True)),
        replace(plane, path=_coordinates(plane, places)),
    )


def _learnt(
    own: nn.Module,
    batches: tuple[Any, ...],
    loss_fn: LossFunction,
    ends: tuple[Vector, Vector],
    learning: Learning,
) -> Vector:
    """The control point, by Adam on the loss at random places of the curve."""
    found = list(weights.weights_of(own).values())
    bend = [(a + b) / 2 for a, b in zip(*ends, strict=True)]
    optimizer = torch.optim.Adam(bend, lr=learning.lr)
    generator = torch.Generator().manual_seed(learning.seed)
    with still(own, training=learning.training):
        for step in range(learning.steps):
            t = float(torch.rand((), generator=generator))
            _go(found, ends, bend, t)
            loss = loss_fn(own, batches[step % len(batches)])
            slopes = torch.autograd.grad(loss, found, materialize_grads=True)
            for part, slope in zip(bend, slopes, strict=True):
                part.grad = slope * (2 * t * (1 - t))
            optimizer.step()
    return tuple(part.detach() for part in bend)


@torch.no_grad()
def _go(
    found: list[Tensor], ends: tuple[Vector, Vector], bend: list[Tensor], t: float
) -> None:
    for weight, a, b, c in zip(found, *ends, bend, strict=True):
        weight.copy_((1 - t) ** 2 * a + 2 * t * (1 - t) * c + t**2 * b)


def _plane(own: nn.Module, ends: tuple[Vector, Vector], bend: Vector) -> Slice:
    """The plane through both ends and the bend."""
    names = list(weights.weights_of(own))
    states = [dict(zip(names, one, strict=True)) for one in (*ends, bend)]
    return through(own, states, labels=("one end", "other end", "bend"))


def _coordinates(plane: Slice, places: Floats64) -> Floats64:
    """The curve on the plane of its control points, shape `[points, 2]`."""
    a, b, c = (np.array(mark.at) for mark in plane.marks)
    t = places[:, None]
    return (1 - t) ** 2 * a + 2 * t * (1 - t) * c + t**2 * b


def _losses(task: Task, places: Sequence[Place]) -> Floats64:
    with loss_on(task) as loss:
        return np.array([loss(place) for place in places])
