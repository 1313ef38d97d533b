"""A model comes in, a diagram of what its norm layers average over goes out.

Each norm layer is a block of numbers, batch by channels by positions; what shares one
mean and one variance is shaded, as in Y. Wu and K. He, "Group normalization" (2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]
from torch.nn.modules.instancenorm import (
    _InstanceNorm,  # pyright: ignore[reportPrivateUsage]
)

from surefoot.landscape import style
from surefoot.landscape.passes import names_of, run_once
from surefoot.types import LossFunction

Role = Literal["batch", "channels", "positions"]

MOST = 4
"""Diagrams in one figure: there are hardly more kinds of norm layers in a model."""


@dataclass(frozen=True, slots=True)
class NormAxes:
    """What one norm layer averages over.

    Attributes:
        name: of the module.
        kind: its class.
        shape: of what came in.
        roles: what each dimension of it is.
        reduced: the dimensions that share one mean and one variance; empty where
            stored statistics are used.
        groups: into how many the channels are divided, each with its own.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    roles: tuple[Role, ...]
    reduced: tuple[int, ...]
    groups: int = 1

    @property
    def statistics(self) -> int:
        """How many means there are."""
        rest = [n for i, n in enumerate(self.shape) if i not in self.reduced]
        return int(np.prod(rest)) * (self.groups if 1 in self.reduced else 1)


def norm_axes(
    model: nn.Module, batch: Any, *, loss_fn: LossFunction | None = None
) -> tuple[NormAxes, ...]:
    """What each norm layer of a model averages over, in the order they run.

    Batch, layer, group, instance and RMS norms of torch are known. The pass leaves no
    trace. Batch norm in eval mode averages over nothing.

    Args:
        model: in the modes that it is used in.
        batch: as of `loss_fn`, or inputs.
        loss_fn: how the model is run.

    Raises:
        ValueError: no norm layer of these ran.

    >>> import torch
    >>> net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    >>> norm_axes(net, torch.ones(8, 3))[0].reduced
    (1,)
    """
    found: dict[str, NormAxes] = {}
    names = names_of(model)

    def ran(module: nn.Module, args: Any, output: Any) -> None:
        axes = _axes(names[module], module, tuple(args[0].shape))
        if axes is not None:
            found.setdefault(axes.name, axes)

    handles = [module.register_forward_hook(ran) for module in model.modules()]
    try:
        run_once(model, batch, loss_fn=loss_fn)
    finally:
        for handle in handles:
            handle.remove()
    if not found:
        raise ValueError(
            f"{type(model).__name__} ran no norm layer; expected batch, layer, group, "
            "instance or RMS norms of torch"
        )
    return tuple(found.values())


def _axes(name: str, module: nn.Module, shape: tuple[int, ...]) -> NormAxes | None:
    kind = type(module).__name__
    every = tuple(range(len(shape)))
    if isinstance(module, _BatchNorm):
        live = module.training or module.running_mean is None
        reduced = tuple(i for i in every if i != 1) if live else ()
        return NormAxes(name, kind, shape, _channels_second(shape), reduced)
    if isinstance(module, _InstanceNorm):
        return NormAxes(name, kind, shape, _channels_second(shape), every[2:])
    if isinstance(module, nn.GroupNorm):
        roles = _channels_second(shape)
        return NormAxes(name, kind, shape, roles, every[1:], module.num_groups)
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):
        first = len(shape) - len(module.normalized_shape)
        roles = _channels_last(shape) if first == len(shape) - 1 else None
        roles = roles or _channels_second(shape)
        return NormAxes(name, kind, shape, roles, every[first:])
    return None


def _channels_second(shape: tuple[int, ...]) -> tuple[Role, ...]:
    rest: tuple[Role, ...] = ("positions",) * (len(shape) - 2)
    return ("batch", "channels", *rest)


def _channels_last(shape: tuple[int, ...]) -> tuple[Role, ...]:
    rest: tuple[Role, ...] = ("positions",) * (len(shape) - 2)
    return ("batch", *rest, "channels")


# --- drawing --------------------------------------------------------------------

CELLS: tuple[int, int, int] = (5, 6, 5)
"""Of the drawn block: batch, channels, positions; enough to tell one from all."""

DEPTH = (0.42, 0.36)
"""Where one channel lies behind the one before: the slant of the drawing."""


def norm_diagram(
    model: nn.Module, batch: Any, *, loss_fn: LossFunction | None = None
) -> Figure:
    """A block for each kind of norm layer in a model, what it averages over shaded.

    Of layers that average over the same dimensions the first is drawn, at most `MOST`
    in all. Arguments and errors are those of `norm_axes`.
    """
    found = norm_axes(model, batch, loss_fn=loss_fn)
    kinds = {(one.kind, one.roles, one.reduced): one for one in reversed(found)}
    drawn = tuple(reversed(kinds.values()))[:MOST]
    with style.styled():
        made = style.figure(3.3 * len(drawn), 3.9)
        places: Any = made.subplots(1, len(drawn), squeeze=False)[0]
        for axes, one in zip(places, drawn, strict=True):
            _draw(axes, one)
        made.suptitle(
            "What shares one mean and one variance",
            x=0.015, ha="left", fontweight="bold", fontsize=12,
        )  # fmt: skip
    return made


def shaded_cells(one: NormAxes) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which cells of the drawn block share one mean, shape `CELLS`.

    All along a dimension that is reduced, one at the visible corner along others.
    Without positions the block is one cell high.
    """
    high = CELLS[2] if "positions" in one.roles else 1
    cells = np.zeros((*CELLS[:2], high), dtype=bool)
    if not one.reduced:
        return cells
    over = {one.roles[index] for index in one.reduced}
    batch = slice(None) if "batch" in over else slice(-1, None)
    channels = slice(0, _shown_channels(one)) if "channels" in over else slice(0, 1)
    positions = slice(None) if "positions" in over else slice(-1, None)
    cells[batch, channels, positions] = True
    return cells


def _shown_channels(one: NormAxes) -> int:
    """A third of the channels stands for one group of several."""
    return CELLS[1] if one.groups == 1 else CELLS[1] // min(one.groups, 3)


def _draw(axes: Any, one: NormAxes) -> None:
    cells = shaded_cells(one)
    batch, channels, positions = (range(n) for n in cells.shape)
    for n in batch:
        for p in positions:
            _face(axes, cells[n, 0, p], ((n, 0, p), (1, 0, 0), (0, 0, 1)))
        for c in channels:
            _face(axes, cells[n, c, -1], ((n, c, len(positions)), (1, 0, 0), (0, 1, 0)))
    for c in channels:
        for p in positions:
            _face(axes, cells[-1, c, p], ((CELLS[0], c, p), (0, 1, 0), (0, 0, 1)))
    _add_words(axes, one, high=len(positions))
    axes.set_aspect("equal")
    axes.set(xlim=(-1.1, 9.2), ylim=(-3.4, 8.2))
    axes.axis("off")


def _face(axes: Any, shaded: bool, place: tuple[Any, Any, Any]) -> None:
    """One cell's face: a corner, and the two edges from it."""
    corner, one, other = (np.array(part, dtype=float) for part in place)
    around = np.array([corner, corner + one, corner + one + other, corner + other])
    side = 0.90 if one[0] == 0 else 1.0
    colour = np.array([0.835, 0.369, 0.0]) if shaded else np.array([0.93, 0.94, 0.955])
    axes.add_patch(
        Polygon(_flat(around), facecolor=colour * side, edgecolor="#8C939B", lw=0.6)
    )


def _flat(points: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """On paper: batch to the right, positions upwards, channels away."""
    n, c, p = points.T
    return np.column_stack([n + DEPTH[0] * c, p + DEPTH[1] * c])


def _add_words(axes: Any, one: NormAxes, *, high: int) -> None:
    names = _labels(one)
    axes.text(CELLS[0] / 2, -0.25, names["batch"], ha="center", va="top")
    axes.text(-0.25, high / 2, names["positions"], ha="right", va="center",
              rotation=90)  # fmt: skip
    behind = _flat(np.array([[CELLS[0], CELLS[1] / 2, 0.0]]))[0]
    axes.text(behind[0] + 0.25, behind[1] - 0.15, names["channels"], va="top")
    axes.text(-0.9, -1.35, f"{one.kind}  {one.name}", fontweight="bold", va="top")
    axes.text(-0.9, -2.1, _sentence(one), va="top", fontsize=8.5, color=style.INK)


def _labels(one: NormAxes) -> dict[str, str]:
    found: dict[str, str] = {"batch": "", "channels": "", "positions": ""}
    named = {"batch": "batch", "channels": "channels", "positions": "positions"}
    for role in found:
        sizes = [n for n, is_ in zip(one.shape, one.roles, strict=True) if is_ == role]
        times = " × ".join(map(str, sizes))
        found[role] = f"{named[role]} {times}" if sizes else ""
    return found


def _sentence(one: NormAxes) -> str:
    if not one.reduced:
        return "eval mode: stored statistics,\nno average is taken"
    over: Sequence[str] = tuple(dict.fromkeys(one.roles[i] for i in one.reduced))
    groups = f", in {one.groups} groups" if one.groups > 1 else ""
    means = "mean" if one.statistics == 1 else "means"
    return f"averages over {' and '.join(over)}{groups}:\n{one.statistics} {means}"
