"""A model and checkpoints come in; the slice that holds them goes out, or fits them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from surefoot.landscape import weights
from surefoot.landscape.directions import Floats64, Mark, Range, Slice, orthogonal
from surefoot.landscape.weights import State, Vector

MARGIN = 0.25
"""Share of its range that is drawn around what a slice holds, on each side."""

Checkpoint = State | nn.Module


def through(
    model: nn.Module, checkpoints: Sequence[Checkpoint], *, labels: Sequence[str] = ()
) -> Slice:
    """The line through two checkpoints, or the plane through three.

    The first lies at 0 or (0, 0), the second at 1 or (1, 0); on a plane, both
    directions are orthogonal and of one length, so that angles are as they are in
    weight space (Garipov 2018, arXiv 1802.10026, appendix A.2).

    Norm layers in eval mode use the running statistics of `model` at every point, which
    fit none of the others: draw with `Options(training=True)`, or bring them along.

    Args:
        model: tells which weights there are; its own values do not matter.
        checkpoints: two or three state dicts, or models of the same kind.
        labels: what each is called.

    Raises:
        ValueError: a checkpoint is of another model; two are equal; three lie on a
            line; or there are not two or three.

    >>> start, end = nn.Linear(2, 1), nn.Linear(2, 1)
    >>> [mark.at for mark in through(start, [start, end]).marks]
    [(0.0,), (1.0,)]
    """
    if len(checkpoints) not in (2, 3):
        raise ValueError(
            f"a line takes two checkpoints and a plane three, not {len(checkpoints)}; "
            "for more there is `trajectory`"
        )
    found = weights.weights_of(model)
    states = [weights.state_vector(found, one) for one in checkpoints]
    _check_finite(found, states)
    named = list(labels) or [f"checkpoint {n + 1}" for n in range(len(states))]
    first = weights.combined(states[1], states[0], -1.0)
    length = weights.norm(first)
    if length == 0:
        raise ValueError(f"{named[0]} and {named[1]} have the same weights")
    directions, places = [first], [(0.0,), (1.0,)]
    if len(states) == 3:
        third = weights.combined(states[2], states[0], -1.0)
        across = orthogonal(third, first)
        if weights.norm(across) <= 1e-6 * weights.norm(third):
            raise ValueError("the three checkpoints lie on a line; give two of them")
        second = weights.scaled(weights.unit(across), length)
        directions.append(second)
        x, y = (weights.dot(third, way) / length**2 for way in directions)
        places = [(0.0, 0.0), (1.0, 0.0), (x, y)]
    return Slice(
        tuple(found),
        tuple(part.clone() for part in states[0]),
        tuple(directions),
        _axis_labels(named),
        _reach(np.array(places)),
        np.zeros((0, len(directions))),
        marks=tuple(Mark(at, name) for at, name in zip(places, named, strict=True)),
    )


def trajectory(
    model: nn.Module, checkpoints: Sequence[Checkpoint], *, dimensions: int = 2
) -> Slice:
    """The plane (or line) that fits a training's checkpoints best, around the last.

    Principal components of the checkpoints; coordinates are distances in weight space.
    `explained` is the share of their spread along each. A high share says little by
    itself: of a random walk in many dimensions, the first two components hold 76 %
    (Antognini and Sohl-Dickstein 2018, arXiv 1806.08805).

    Args:
        model: tells which weights there are.
        checkpoints: state dicts or models in the order of training; the last is the
            centre.
        dimensions: 2 for a plane, 1 for a line.

    Raises:
        ValueError: there are too few different checkpoints, or one is of another model.
    """
    found = weights.weights_of(model)
    states = [weights.state_vector(found, one) for one in checkpoints]
    _check_finite(found, states)
    shares, factors, path = _components(states, dimensions)
    stacked = [torch.stack(parts) for parts in zip(*states, strict=True)]
    directions = tuple(
        tuple(_combination(parts, factors[:, at]) for parts in stacked)
        for at in range(dimensions)
    )
    return Slice(
        tuple(found),
        tuple(part.clone() for part in states[-1]),
        directions,
        tuple(f"principal component {n + 1}" for n in range(dimensions)),
        _reach(path),
        path,
        explained=shares,
    )


def _components(
    states: list[Vector], dimensions: int
) -> tuple[tuple[float, ...], Floats64, Floats64]:
    """Shares of the spread, factors of each state in each direction, coordinates.

    By the inner products of the states: there are few of them, and many weights.
    """
    count = len(states)
    if count <= dimensions:
        raise ValueError(
            f"{dimensions} components need {dimensions + 1} checkpoints or more, "
            f"not {count}"
        )
    products = np.zeros((count, count))
    for parts in zip(*states, strict=True):
        flat = torch.stack(parts).flatten(1).double()
        flat = flat - flat.mean(0)
        products += (flat @ flat.T).cpu().numpy()
    values, vectors = np.linalg.eigh(products)
    values, vectors = values[::-1][:dimensions], vectors[:, ::-1][:, :dimensions]
    if values[-1] <= 1e-12 * max(float(np.trace(products)), 1e-300):
        raise ValueError(
            f"the checkpoints do not spread in {dimensions} dimensions: give more of "
            "them, or draw a line"
        )
    lengths = np.sqrt(values)
    vectors = vectors * np.where(vectors[0] < vectors[-1], -1.0, 1.0)
    path = (vectors - vectors[-1]) * lengths
    factors = vectors / lengths
    shares = tuple(float(value / np.trace(products)) for value in values)
    return shares, factors - factors.mean(0), path


def _combination(parts: Tensor, factors: Floats64) -> Tensor:
    given = torch.tensor(factors, dtype=torch.float64, device=parts.device)
    return torch.tensordot(given, parts.double(), 1).to(parts.dtype)


def _check_finite(found: dict[str, Tensor], states: list[Vector]) -> None:
    for at, state in enumerate(states):
        for name, part in zip(found, state, strict=True):
            if not bool(torch.isfinite(part).all()):
                raise ValueError(
                    f"checkpoint {at + 1} of {len(states)} holds NaN or infinities in "
                    f"{name}; leave it out"
                )


def _axis_labels(named: list[str]) -> tuple[str, ...]:
    towards = [f"from {named[0]} to {named[1]}"]
    return (*towards, f"towards {named[2]}") if len(named) == 3 else tuple(towards)


def _reach(places: Floats64) -> tuple[Range, ...]:
    """What holds all places with a margin; no side is under a tenth of the longest."""
    low, high = places.min(0), places.max(0)
    width = np.maximum(high - low, 0.1 * (high - low).max())
    middle, half = (low + high) / 2, width * (0.5 + MARGIN)
    return tuple(
        (float(m - h), float(m + h)) for m, h in zip(middle, half, strict=True)
    )
