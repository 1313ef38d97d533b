"""A model, data, a loss and directions come in; the loss on a line or a plane goes out.

Most of a plane need not be evaluated: see `surefoot.landscape.adaptive`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import nn

from surefoot.curvature.batches import Batches
from surefoot.landscape.adaptive import SHARE, Refined, budget_of, exact, refined
from surefoot.landscape.derivatives import (
    eigenvector_directions,
    gradient_directions,
)
from surefoot.landscape.directions import (
    Floats64,
    Mark,
    Range,
    Slice,
    random_directions,
)
from surefoot.landscape.evaluate import Task, batches_of
from surefoot.landscape.grid import Grid, grid_of
from surefoot.landscape.resume import read_arrays
from surefoot.types import Field, LossFunction


@dataclass(frozen=True, slots=True)
class Options:
    """How a surface is drawn.

    extent: how far along each direction, as a number or a range for each; None takes
        what the directions propose (-1 to 1, or what holds all checkpoints).
    exact: evaluate every point of the grid, interpolate none.
    training: the mode of all modules; None leaves each in its own. Norm layers in
        eval mode use the running statistics of the model at every point.
    seed: of random directions, and of the random numbers that dropout draws, which
        are the same at every point.
    differentiable: the loss itself needs gradients (penalties on them, for one).
    progress: called with how many evaluations are done, and of how many at most.
    executor: of processes that evaluate, such as a `ProcessPoolExecutor` with the
        context "spawn"; model, data and loss must then be picklable.
    resume: a file that holds the losses computed so far. After an interruption the
        same call goes on from it; what is drawn otherwise is refused.
    share: of the points of a surface that are evaluated at most.
    title: a name for the picture.
    """

    extent: float | Sequence[Range] | None = None
    exact: bool = False
    training: bool | None = None
    seed: int = 0
    differentiable: bool = False
    progress: Callable[[int, int], None] | None = None
    executor: Executor | None = None
    resume: str | Path | None = None
    share: float = SHARE
    title: str = ""


STORED: Final = (
    "Norm layers use the running statistics of the model as it is at every point; "
    "those of other weights would differ. training=True takes those of the batch."
)
"""The note of a surface of a model with norm layers in eval mode."""

_ARRAYS: Final = ("alphas", "betas", "losses", "evaluated", "path")
_TOLD: Final = (
    "directions", "loss_at_centre", "mode", "error", "explained", "title", "kind",
    "note",
)  # fmt: skip
"""What the file of a surface holds, as arrays and as JSON."""


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """The loss on a grid over a slice of weight space.

    `losses` has shape `[len(alphas), len(betas)]`, or `[len(alphas)]` on a line, where
    `betas` is empty. `evaluated` tells which of them were computed; the others are
    interpolated, with errors of `error` (keys "median", "p95", "max"; shares of the
    range of the finite losses; estimated by cross-validation). Losses that are not
    finite stay so. `path`, `explained` and `marks` are those of the slice. `kind` is
    "landscape" or "convexity"; `note` says what to know before reading it.
    """

    alphas: Floats64
    betas: Floats64
    losses: Floats64
    evaluated: npt.NDArray[np.bool_]
    directions: tuple[str, ...]
    loss_at_centre: float
    mode: str
    error: dict[str, float]
    path: Floats64
    explained: tuple[float, ...] = ()
    marks: tuple[Mark, ...] = ()
    title: str = ""
    kind: str = "landscape"
    note: str = ""

    @property
    def evaluations(self) -> int:
        """How many points of the grid were computed."""
        return int(self.evaluated.sum())

    def at(self, alpha: float, beta: float = 0.0) -> float:
        """The loss at a place, interpolated linearly between the grid's points.

        Raises:
            ValueError: the place lies outside the grid.
        """
        axes = [axis for axis in (self.alphas, self.betas) if len(axis)]
        corners = self.losses
        for axis, place in zip(axes, (alpha, beta), strict=False):
            if not axis[0] <= place <= axis[-1]:
                raise ValueError(
                    f"{place} lies outside what was drawn, {axis[0]:g} to {axis[-1]:g}"
                )
            low = min(int(np.searchsorted(axis, place, "right")) - 1, len(axis) - 2)
            share = (place - axis[low]) / (axis[low + 1] - axis[low])
            if share == 0 or share == 1:  # a NaN beside the point is not its own
                corners = corners[low + int(share)]
            else:
                corners = (1 - share) * corners[low] + share * corners[low + 1]
        return float(corners)

    def save(self, path: str | Path) -> None:
        """Write an .npz file: arrays and JSON, nothing that is unpickled."""
        about = {name: getattr(self, name) for name in _TOLD}
        about["marks"] = [[list(mark.at), mark.label] for mark in self.marks]
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        with Path(path).open("wb") as file:
            np.savez(file, about=np.array(json.dumps(about)), **arrays)

    @classmethod
    def load(cls, path: str | Path) -> Surface:
        """Read a file that `save` wrote.

        Raises:
            ValueError: it is no such file.
        """
        found = read_arrays(Path(path), (*_ARRAYS, "about"))
        about = json.loads(str(found["about"]))
        marks = tuple(Mark(tuple(at), label) for at, label in about.pop("marks"))
        told: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in about.items()
        }
        arrays = {name: found[name] for name in _ARRAYS}
        return cls(**arrays, **told, marks=marks)

    def field(self, *, step: int = 0, stream: str = "main") -> Field:
        """The surface as a recorded field of the kind "landscape"."""
        axes = {"alpha": self.alphas.tolist(), "beta": self.betas.tolist()}
        values = np.where(np.isfinite(self.losses), self.losses, np.nan)
        about: dict[str, Any] = {
            "path": self.path.tolist(),
            "explained": list(self.explained),
            "directions": list(self.directions),
            "evaluated": np.argwhere(self.evaluated).tolist(),
            "error": dict(self.error),
            "evaluations": self.evaluations,
            "title": self.title,
            "marks": [{"at": list(m.at), "label": m.label} for m in self.marks],
            "mode": self.mode,
            "loss_at_centre": (
                self.loss_at_centre if math.isfinite(self.loss_at_centre) else None
            ),
        }
        if self.note:
            about["note"] = self.note
        if not len(self.betas):
            del axes["beta"]
        return Field(step, self.kind, axes, values.astype(np.float32), stream, about)


def surface(
    model: nn.Module,
    data: Any,
    *,
    loss_fn: LossFunction,
    directions: str | Slice = "random",
    points: int = 21,
    options: Options | None = None,
) -> Surface:
    """The loss on a plane through weight space.

    Args:
        model: its weights are the centre, unless the slice has one of its own.
            Afterwards model, buffers and random streams are as before, bit for bit.
        data: a batch, or a `DataLoader`: the mean over all its samples is drawn, over
            the same batches at every point.
        loss_fn: `loss_fn(model, batch)`, the mean loss of a batch.
        directions: "random" (filter-normalised), "gradient" (and a random one across
            it), "eigenvectors" (of the two largest eigenvalues), or a slice from
            `surefoot.landscape.directions`, `.derivatives` or `.path`.
        points: along each direction. An odd number has the centre among them.
        options: how it is drawn.

    Raises:
        ValueError: the model holds NaN, the data is empty, the loss is not one number,
            or the slice is a line.

    >>> import torch
    >>> net = nn.Linear(2, 1)
    >>> batch = torch.ones(8, 2)
    >>> bowl = surface(net, batch, loss_fn=lambda m, x: m(x).square().mean(), points=5)
    >>> bowl.losses.shape
    (5, 5)
    """
    options = options or Options()
    asked = Asked(model, batches_of(data), loss_fn, options)
    return _drawn(_task(asked, asked_slice(asked, directions, 2)), points, options)


def line(
    model: nn.Module,
    data: Any,
    *,
    loss_fn: LossFunction,
    directions: str | Slice = "random",
    points: int = 51,
    options: Options | None = None,
) -> Surface:
    """The loss on a line through weight space, every point evaluated.

    The arguments are those of `surface`.

    >>> import torch
    >>> net = nn.Linear(2, 1)
    >>> cut = line(net, torch.ones(8, 2), loss_fn=lambda m, x: m(x).square().mean())
    >>> cut.losses.shape, cut.evaluations
    ((51,), 51)
    """
    options = options or Options()
    asked = Asked(model, batches_of(data), loss_fn, options)
    return _drawn(_task(asked, asked_slice(asked, directions, 1)), points, options)


class Asked(NamedTuple):
    """What was asked for, before there is a slice."""

    model: nn.Module
    batches: tuple[Any, ...]
    loss_fn: LossFunction
    options: Options


def _task(asked: Asked, on: Slice) -> Task:
    model, batches, loss_fn, options = asked
    about = (options.training, options.seed, options.differentiable)
    return Task(model, batches, loss_fn, on, *about)


def asked_slice(asked: Asked, directions: str | Slice, dimensions: int) -> Slice:
    """The slice that was given, or one along the directions that were named."""
    model, batches, loss_fn, options = asked
    if directions == "random":
        return random_directions(model, count=dimensions, seed=options.seed)
    if isinstance(directions, Slice):
        found = directions
    else:
        found = _named(directions)(
            model,
            Batches(batches, keep_graphs=len(batches) == 1),
            loss_fn=loss_fn,
            training=options.training,
            seed=options.seed,
        )
    if found.dimensions < dimensions:
        raise ValueError("a surface needs two directions, this slice has one")
    return found if found.dimensions == dimensions else found.along(0)


def _named(directions: str) -> Callable[..., Slice]:
    if directions == "gradient":
        return gradient_directions
    if directions == "eigenvectors":
        return eigenvector_directions
    raise ValueError(
        "directions is 'random', 'gradient', 'eigenvectors' or a slice, not "
        f"{directions!r}"
    )


def _drawn(task: Task, points: int, options: Options) -> Surface:
    axes = axes_of(task.slice, points, options.extent)
    with grid_of(
        task,
        axes,
        executor=options.executor,
        resume=options.resume,
        progress=options.progress,
    ) as grid:
        drawn = _refined(grid, axes, options)
        centre = tuple(int(np.argmin(np.abs(axis))) for axis in axes)
        on_grid = all(axis[at] == 0 for axis, at in zip(axes, centre, strict=True))
        at_centre = (
            float(grid.losses([centre])[0]) if on_grid else grid.at((0.0,) * len(axes))
        )
        grid.finished()
    return Surface(
        axes[0],
        axes[1] if len(axes) > 1 else np.zeros(0),
        drawn.losses,
        drawn.evaluated,
        task.slice.labels,
        at_centre,
        mode_of(task.model, task.training),
        drawn.error,
        task.slice.path,
        task.slice.explained,
        task.slice.marks,
        options.title,
        note=_note(task),
    )


def _refined(grid: Grid, axes: list[Floats64], options: Options) -> Refined:
    shape = tuple(map(len, axes))
    if len(shape) < 2 or options.exact:
        return exact(grid.losses, shape)
    grid.total = budget_of(shape, options.share)
    centre = tuple(int(np.argmin(np.abs(axis))) for axis in axes)
    return refined(grid.losses, shape[:2], share=options.share, first=[centre])


def axes_of(
    on: Slice, points: int, extent: float | Sequence[Range] | None
) -> list[Floats64]:
    """Coordinates of a grid along each direction of a slice; see `Options.extent`."""
    return [_axis(reach, points) for reach in _reach(on, extent)]


def _reach(on: Slice, extent: float | Sequence[Range] | None) -> Sequence[Range]:
    if extent is None:
        return on.reach
    if isinstance(extent, int | float):
        return ((-float(extent), float(extent)),) * on.dimensions
    return extent


def _axis(reach: Range, points: int) -> Floats64:
    low, high = reach
    if points < 2 or not low < high:
        raise ValueError(
            f"{points} points from {low} to {high} are no axis: give two or more "
            "points, and a range that ascends"
        )
    axis = np.linspace(low, high, points)
    if low == -high:  # where halves round differently, the centre is exactly zero
        axis = (axis - axis[::-1]) / 2
    return axis


def mode_of(model: nn.Module, training: bool | None) -> str:
    """The mode in which a loss is evaluated: "train", "eval", or "mixed"."""
    if training is not None:
        return "train" if training else "eval"
    modes = {module.training for module in model.modules()}
    return "mixed" if len(modes) > 1 else "train" if modes.pop() else "eval"


def _note(task: Task) -> str:
    """What running statistics do to a picture of weights that they were not made by."""
    stored = any(
        getattr(module, "running_mean", None) is not None
        and not (module.training if task.training is None else task.training)
        for module in task.model.modules()
    )
    return STORED if stored else ""
