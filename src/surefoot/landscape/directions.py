"""A model comes in; a slice through its weight space goes out: a centre, directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from surefoot.landscape import weights
from surefoot.landscape.weights import Vector

Floats64 = npt.NDArray[np.float64]
Normalisation = Literal["filter", "layer", "unit"]
Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Mark:
    """A place on a slice that has a name, such as a checkpoint."""

    at: tuple[float, ...]
    label: str


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """All weights `centre + alpha * directions[0] + beta * directions[1]`.

    A slice with one direction is a line. `reach` holds the range of each coordinate
    that is worth drawing; `path` (shape `[n, dimensions]`) the places of a trajectory,
    `explained` the share of its spread along each direction. `cosine` is that of the
    angle between the two directions.
    """

    names: tuple[str, ...]
    centre: Vector
    directions: tuple[Vector, ...]
    labels: tuple[str, ...]
    reach: tuple[Range, ...]
    path: Floats64
    explained: tuple[float, ...] = ()
    marks: tuple[Mark, ...] = ()
    cosine: float = 0.0

    @property
    def dimensions(self) -> int:
        """1 for a line, 2 for a plane."""
        return len(self.directions)

    def around(self, model: nn.Module) -> Slice:
        """The same directions around the weights of another model of this kind.

        For pictures before and after: both are drawn along the same directions.
        """
        own = weights.weights_of(model)
        weights.state_vector(own, dict(zip(self.names, self.centre, strict=True)))
        return replace(self, centre=weights.values_of(model))

    def along(self, direction: int) -> Slice:
        """The line through the centre along one of the directions."""
        return replace(
            self,
            directions=(self.directions[direction],),
            labels=(self.labels[direction],),
            reach=(self.reach[direction],),
            path=self.path[:, direction : direction + 1],
            explained=self.explained[direction : direction + 1],
            marks=(),
            cosine=0.0,
        )


def slice_of(
    model: nn.Module,
    directions: Sequence[Vector],
    *,
    labels: Sequence[str] = (),
    reach: Range = (-1.0, 1.0),
) -> Slice:
    """A slice around the weights of a model, along directions of one's own.

    Args:
        model: its weights are the centre.
        directions: one or two, each a tensor a weight in the order of
            `weights.weights_of(model)`.
        labels: what each is called.
        reach: the range of each coordinate that is drawn.

    Raises:
        ValueError: there are not one or two directions, or shapes do not fit.
    """
    found = weights.weights_of(model)
    if len(directions) not in (1, 2):
        raise ValueError(f"a slice has one or two directions, not {len(directions)}")
    moved = tuple(weights.state_vector(found, _named(found, d)) for d in directions)
    return Slice(
        tuple(found),
        weights.values_of(model),
        moved,
        tuple(labels) or tuple(f"direction {n + 1}" for n in range(len(moved))),
        (reach,) * len(moved),
        np.zeros((0, len(moved))),
        cosine=_cosine(moved),
    )


def random_directions(
    model: nn.Module,
    *,
    count: int = 2,
    seed: int = 0,
    normalise: Normalisation = "filter",
    vectors: Literal["frozen", "scaled"] = "frozen",
    where: Sequence[str] | None = None,
) -> Slice:
    """Random directions scaled like the weights, each filter by its own norm.

    Without scaling, the picture of a net with large weights looks flat and that of a
    net with small ones sharp, though they compute the same (Li 2018, arXiv 1712.09913,
    section 4). Two directions are orthogonal filter by filter, before the scaling and
    hence after it; filters of one element are the exception.

    Args:
        model: its weights are the centre.
        count: 1 or 2 directions.
        seed: of the directions; global random streams are not drawn from.
        normalise: "filter": each filter has the norm of the model's filter; "layer":
            each tensor has that of the model's tensor; "unit": the whole has length 1.
        vectors: biases and weights of norm layers (tensors of one dimension) stay as
            they are ("frozen", as in the paper) or move with the norm of their tensor.
        where: names of weights or modules that move; the others stay.

    >>> plane = random_directions(nn.Linear(3, 2))
    >>> [tuple(part.shape) for part in plane.directions[0]]
    [(2, 3), (2,)]
    """
    found = weights.weights_of(model)
    moving = weights.chosen(list(found), where)
    if vectors == "frozen":
        moving = frozenset(name for name in moving if found[name].dim() > 1)
    if not moving:
        raise ValueError(
            "only biases and norms are left to move: give vectors='scaled'"
        )
    generator = torch.Generator().manual_seed(seed)
    axes = weights.filter_axis(model)
    drawn = [_drawn(found, moving, generator) for _ in range(count)]
    for at in range(1, count):
        drawn[at] = _filterwise_orthogonal(drawn[at], drawn[0], found, axes)
    made = [_normalised(one, found, axes, normalise) for one in drawn]
    labels = [f"random direction {n + 1}" for n in range(count)]
    return slice_of(model, made, labels=labels)


def orthogonal(vector: Vector, to: Vector) -> Vector:
    """What is left of a vector when its part along another one is taken away."""
    for _ in range(2):  # once leaves rounding errors of the part that was taken away
        vector = weights.combined(
            vector, to, -weights.dot(vector, to) / weights.dot(to, to)
        )
    return vector


def _named(found: dict[str, Tensor], direction: Vector) -> dict[str, Tensor]:
    if len(direction) != len(found):
        raise ValueError(
            f"a direction has one tensor a weight: {len(found)}, not {len(direction)}"
        )
    return dict(zip(found, direction, strict=True))


def _cosine(directions: tuple[Vector, ...]) -> float:
    if len(directions) < 2:
        return 0.0
    one, other = directions
    lengths = weights.norm(one) * weights.norm(other)
    return weights.dot(one, other) / lengths if lengths else 0.0


def _drawn(
    found: dict[str, Tensor], moving: frozenset[str], generator: torch.Generator
) -> Vector:
    """Normal numbers for what moves, zeros elsewhere; the same on every device."""
    return tuple(
        torch.randn(one.shape, generator=generator).to(one.device, one.dtype)
        if name in moving
        else torch.zeros_like(one, requires_grad=False)
        for name, one in found.items()
    )


def _filterwise_orthogonal(
    vector: Vector, to: Vector, found: dict[str, Tensor], axes: dict[str, int]
) -> Vector:
    """Take from each filter its part along the same filter of another vector.

    Where all filters are orthogonal, scaling them leaves the whole orthogonal.
    """
    parts = (
        _filter_orthogonal(own, other, axes[name])
        for name, own, other in zip(found, vector, to, strict=True)
    )
    return tuple(parts)


def _filter_orthogonal(own: Tensor, other: Tensor, axis: int) -> Tensor:
    if own.dim() < 2 or own.numel() == own.shape[axis]:
        return own
    dims = [d for d in range(own.dim()) if d != axis]
    a, b = own.double(), other.double()
    for _ in range(2):
        a = a - b * (
            (a * b).sum(dims, keepdim=True) / _nonzero((b * b).sum(dims, keepdim=True))
        )
    return a.to(own.dtype)


def _normalised(
    vector: Vector,
    found: dict[str, Tensor],
    axes: dict[str, int],
    normalise: Normalisation,
) -> Vector:
    if normalise == "unit":
        return weights.unit(vector)
    if normalise not in ("filter", "layer"):
        raise ValueError(f"normalise is 'filter', 'layer' or 'unit', not {normalise!r}")
    by_filter = normalise == "filter"
    return tuple(
        _like(part, weight.detach(), axes[name] if by_filter else None)
        for part, (name, weight) in zip(vector, found.items(), strict=True)
    )


def _like(part: Tensor, weight: Tensor, axis: int | None) -> Tensor:
    """A tensor whose filters (or whole, without an axis) have the weight's norms."""
    if axis is None or part.dim() < 2:
        dims = list(range(part.dim()))
    else:
        dims = [d for d in range(part.dim()) if d != axis]
    wanted = _norms(weight.double(), dims)
    return (part.double() * (wanted / _nonzero(_norms(part.double(), dims)))).to(
        part.dtype
    )


def _norms(tensor: Tensor, dims: list[int]) -> Tensor:
    return (tensor * tensor).sum(dims, keepdim=True).sqrt() if dims else tensor.abs()


def _nonzero(tensor: Tensor) -> Tensor:
    return torch.where(tensor == 0, torch.ones_like(tensor), tensor)
