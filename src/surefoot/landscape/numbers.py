"""A surface comes in; numbers that say how rugged and how convex it is go out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from surefoot.curvature.batches import Batches
from surefoot.curvature.errors import NotFiniteError
from surefoot.curvature.lanczos import eigenpairs
from surefoot.curvature.operators import hessian
from surefoot.landscape.directions import Floats64, Slice
from surefoot.landscape.evaluate import batches_of, moving
from surefoot.landscape.surface import (
    Asked,
    Options,
    Surface,
    asked_slice,
    axes_of,
    mode_of,
)
from surefoot.types import LossFunction


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a surface looks like, in numbers that two surfaces can be compared by.

    roughness: bumps. Along each line of the grid, how much the loss goes up and down
        beyond what a single valley would, as a share of the surface's range; the mean
        over all lines. 0 for a bowl of any depth or slope, and for a plateau.
    negative_curvature: the share of inner points where the slice bends downwards
        along some direction (the smaller eigenvalue of its second differences is
        below zero, by more than a thousandth of the surface's range a step).
    condition: the ratio of larger to smaller curvature at the point of least loss;
        infinite where one is not positive, NaN on a line or at the rim.
    rise: largest finite loss over the least.
    finite: the share of points with a finite loss.
    """

    roughness: float
    negative_curvature: float
    condition: float
    rise: float
    finite: float


TOLERANCE = 0.01
"""Relative error of each eigenvalue of a map, a hundredth as colours are."""

NOISE = 1e-3
"""A curvature of less than this share of the range, a grid step squared, is none: an
interpolated surface errs by about as much, see `adaptive.MEDIAN`."""


def numbers(surface: Surface) -> Numbers:
    """Roughness, convexity and rise of a surface or a line.

    Points without a finite loss are left out. Interpolated points count as evaluated
    ones do; draw with `Options(exact=True)` where small differences matter.

    >>> a = np.linspace(-1, 1, 5)
    >>> bowl = Surface(
    ...     a, a, a[:, None] ** 2 + 4 * a**2, np.ones((5, 5), bool), ("x", "y"), 0.0,
    ...     "eval", {}, np.zeros((0, 2)),
    ... )
    >>> found = numbers(bowl)
    >>> found.roughness, found.negative_curvature, round(found.condition, 6)
    (0.0, 0.0, 4.0)
    """
    losses = np.where(np.isfinite(surface.losses), surface.losses, np.nan)
    finite = np.isfinite(losses)
    if not finite.any():
        return Numbers(*(float("nan"),) * 4, finite=0.0)
    span = float(np.nanmax(losses) - np.nanmin(losses))
    lines = [losses] if losses.ndim == 1 else [*losses, *losses.T]
    extra = [_excess(line[np.isfinite(line)]) for line in lines]
    low = _smaller_curvature(losses)
    known = low[np.isfinite(low)]
    return Numbers(
        float(np.mean(extra)) / span if span else 0.0,
        float((known < -NOISE * span).mean()) if len(known) else float("nan"),
        _condition(surface, losses),
        span,
        float(finite.mean()),
    )


def barrier(losses: Floats64) -> float:
    """How far the loss between two models rises above the straight line between both.

    0 if it does not: then the two are linearly connected (Frankle 2020, arXiv
    1912.05671). Infinite or NaN if a loss is.

    Args:
        losses: at evenly spaced places from one model to the other, both included,
            shape `[n]`.

    >>> barrier(np.array([1.0, 4.0, 2.0]))
    2.5
    """
    straight = np.linspace(losses[0], losses[-1], len(losses))
    with np.errstate(invalid="ignore"):
        return max(float(np.max(losses - straight)), 0.0)


def convexity_map(
    model: nn.Module,
    data: Any,
    *,
    loss_fn: LossFunction,
    directions: str | Slice = "random",
    points: int = 7,
    options: Options | None = None,
) -> Surface:
    """|λ_min|/λ_max of the whole Hessian at each point of a coarse grid.

    Near 0 the loss is close to convex in all of weight space, not only on the slice
    that is drawn (Li 2018, arXiv 1712.09913, section 6). Costs some twenty products
    with the Hessian a point. NaN where the loss is not finite or
    λ_max is not positive.

    The arguments are those of `surface`; of the options, `extent`, `training`, `seed`,
    `progress` and `title` are used.

    Raises:
        CurvatureError: the loss has no second derivative.
        ValueError: the slice is a line, or no directions have that name.
    """
    options = options or Options()
    found = batches_of(data)
    on = asked_slice(Asked(model, found, loss_fn, options), directions, 2)
    axes = axes_of(on, points, options.extent)
    batches = Batches(found, keep_graphs=len(found) == 1)
    ratios = np.full((points, points), np.nan)
    with moving(model, on) as move:
        for done, index in enumerate(np.ndindex(ratios.shape), 1):
            move([float(axis[at]) for axis, at in zip(axes, index, strict=True)])
            ratios[index] = _ratio(model, batches, loss_fn, options)
            if options.progress is not None:
                options.progress(done, ratios.size)
    middle = float(ratios[points // 2, points // 2])
    drawn = Surface(
        axes[0], axes[1], ratios, np.ones(ratios.shape, bool), on.labels, middle,
        mode_of(model, options.training), {}, on.path, on.explained, on.marks,
    )  # fmt: skip
    return replace(drawn, title=options.title, kind="convexity")


def _ratio(
    model: nn.Module, batches: Batches, loss_fn: LossFunction, options: Options
) -> float:
    try:
        with hessian(
            model, batches, loss_fn=loss_fn, training=options.training
        ) as operator:
            found = eigenpairs(
                operator, which="both", tolerance=TOLERANCE, seed=options.seed
            )
    except NotFiniteError:
        return float("nan")
    top, bottom = float(found.values.max()), float(found.values.min())
    return abs(bottom) / top if top > 0 else float("nan")


def _excess(line: Floats64) -> float:
    """How much a line goes up and down beyond a single valley."""
    if len(line) < 3:
        return 0.0
    valley = line[0] + line[-1] - 2 * line.min()
    return max(float(np.abs(np.diff(line)).sum() - valley), 0.0)


def _smaller_curvature(losses: Floats64) -> Floats64:
    """The smaller eigenvalue of second differences, at inner points."""
    if losses.ndim == 1:
        return np.diff(losses, 2)
    aa = np.diff(losses, 2, axis=0)[:, 1:-1]
    bb = np.diff(losses, 2, axis=1)[1:-1]
    ab = (losses[2:, 2:] - losses[2:, :-2] - losses[:-2, 2:] + losses[:-2, :-2]) / 4
    return (aa + bb) / 2 - np.hypot((aa - bb) / 2, ab)


def _condition(surface: Surface, losses: Floats64) -> float:
    """In the coordinates of the slice, whose axes may have other steps."""
    if losses.ndim == 1 or min(losses.shape) < 3:
        return float("nan")
    i, j = (int(at) for at in np.unravel_index(np.nanargmin(losses), losses.shape))
    if not (0 < i < losses.shape[0] - 1 and 0 < j < losses.shape[1] - 1):
        return float("nan")
    around = losses[i - 1 : i + 2, j - 1 : j + 2]
    steps = np.array([np.diff(axis).mean() for axis in (surface.alphas, surface.betas)])
    aa, bb = np.diff(around[:, 1], 2)[0], np.diff(around[1], 2)[0]
    ab = (around[2, 2] - around[2, 0] - around[0, 2] + around[0, 0]) / 4
    bent = np.array([[aa, ab], [ab, bb]]) / np.outer(steps, steps)
    if not np.isfinite(bent).all():
        return float("nan")
    low, high = np.linalg.eigvalsh(bent)
    return float(high / low) if low > 0 else float("inf")
