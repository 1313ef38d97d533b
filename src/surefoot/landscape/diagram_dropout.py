"""A network with dropout comes in, a diagram with the units it really dropped goes out.

The mask is the one that one forward pass drew, told from that pass itself: the call of
dropout is repeated on ones, with the random numbers that it began with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import nn
from torch.overrides import TorchFunctionMode

from surefoot.landscape import style
from surefoot.landscape.passes import names_of, run_once
from surefoot.restore.random_streams import RandomStreams
from surefoot.types import LossFunction

DROPOUTS: tuple[Any, ...] = (
    nn.functional.dropout, nn.functional.dropout1d,
    nn.functional.dropout2d, nn.functional.dropout3d,
)  # fmt: skip
"""What zeroes units; the modules of the same names call these."""

MIXING: tuple[type[nn.Module], ...] = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding,
)  # fmt: skip
"""Modules that make new units; between two of them units keep their place."""

MOST_UNITS = 12
"""Of a column that are drawn: more would be dots."""


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """The units that one layer puts out, for one example.

    Attributes:
        name: of the module.
        units: how many: features, or channels of a convolution.
        kind: the class of the module; empty of what is no module's output.
        kept: which of them dropout let through, shape [units]; None without dropout.
            A channel is dropped when all its positions are.
        rate: of the dropout.
    """

    name: str
    units: int
    kind: str = ""
    kept: NDArray[np.bool_] | None = None
    rate: float = 0.0

    @property
    def dropped(self) -> int:
        """How many units were dropped."""
        return 0 if self.kept is None else int((~self.kept).sum())


def dropped_units(
    model: nn.Module,
    batch: Any,
    *,
    loss_fn: LossFunction | None = None,
    example: int = 0,
) -> tuple[Column, ...]:
    """The layers of a network in the order they run, and what dropout took of each.

    The pass runs in training mode and leaves no trace: buffers, modes and random
    streams are as before. Run twice it draws the same mask, the one that the next
    pass of the training would draw first.

    Args:
        model: with `nn.Dropout` modules or calls of `torch.nn.functional.dropout`.
        batch: as of `loss_fn`, or inputs.
        loss_fn: how the model is run.
        example: which of the batch; of a sequence its first position is looked at.

    Raises:
        ValueError: no dropout was called.

    >>> net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.5))
    >>> [column.units for column in dropped_units(net, torch.ones(1, 3))]
    [3, 8]
    """
    watching = _Watching(names_of(model), example)
    handles = [
        module.register_forward_hook(watching.mixed)
        for module in model.modules()
        if isinstance(module, MIXING)
    ]
    try:
        with watching:
            run_once(model, batch, loss_fn=loss_fn, training=True)
    finally:
        for handle in handles:
            handle.remove()
    if all(column.kept is None for column in watching.columns):
        raise ValueError(
            f"{type(model).__name__} called no dropout in a forward pass in training "
            "mode; expected nn.Dropout, or torch.nn.functional.dropout"
        )
    return tuple(watching.columns)


class _Watching(TorchFunctionMode):
    """Takes note of layers as they run, and of every mask."""

    def __init__(self, names: dict[nn.Module, str], example: int) -> None:
        super().__init__()
        self.columns: list[Column] = []
        self._names, self._example = names, example
        self._channels_first = False

    def mixed(self, module: nn.Module, args: Any, output: torch.Tensor) -> None:
        """A layer ran: a new column."""
        channels = not isinstance(module, nn.Linear | nn.Embedding)
        if not self.columns and isinstance(module, nn.Linear):
            self.columns.append(Column("input", args[0].shape[-1]))
        self._channels_first = channels
        units = output.shape[1] if channels else output.shape[-1]
        kind = type(module).__name__
        self.columns.append(Column(self._names[module], units, kind))

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Let torch do what was asked for; repeat a dropout on ones."""
        if func not in DROPOUTS:
            return func(*args, **(kwargs or {}))
        before = RandomStreams()
        result = func(*args, **(kwargs or {}))
        after = RandomStreams()
        given = _settings(*args, **(kwargs or {}))
        if given["training"]:
            before.restore()
            ones = torch.ones_like(given["input"])
            self._dropped(func(ones, p=given["p"], training=True) != 0, given["p"])
            after.restore()
        return result

    def _dropped(self, mask: torch.Tensor, rate: float) -> None:
        kept = self._of_example(mask).cpu().numpy()
        if not self.columns or self.columns[-1].units != len(kept):
            name = "values" if self.columns else "input"
            self.columns.append(Column(name, len(kept)))
        last = self.columns[-1]
        both = kept if last.kept is None else kept & last.kept
        self.columns[-1] = replace(last, kept=both, rate=float(rate))

    def _of_example(self, mask: torch.Tensor) -> torch.Tensor:
        """Which units of the example were kept, shape [units]."""
        one = mask[min(self._example, len(mask) - 1)] if mask.ndim > 1 else mask
        if self._channels_first and one.ndim > 1:
            return one.flatten(1).any(1)
        while one.ndim > 1:
            one = one[0]
        return one


def _settings(
    input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> dict[str, Any]:
    """The arguments of a call of dropout, however they were given."""
    return {"input": input, "p": p, "training": training, "inplace": inplace}


# --- drawing --------------------------------------------------------------------


def dropout_diagram(
    model: nn.Module,
    batch: Any,
    *,
    loss_fn: LossFunction | None = None,
    example: int = 0,
) -> Figure:
    """The network as columns of units, those that one forward pass dropped crossed out.

    At most `MOST_UNITS` units of a column are drawn, its first ones; what is written
    beneath counts all. Arguments and errors are those of `dropped_units`.
    """
    columns = dropped_units(model, batch, loss_fn=loss_fn, example=example)
    with style.styled():
        made = style.figure(1.6 + 1.5 * len(columns), 4.6)
        axes = made.add_subplot()
        places = [_places(index, one) for index, one in enumerate(columns)]
        _add_edges(axes, columns, places)
        for column, at in zip(columns, places, strict=True):
            _add_units(axes, column, at)
            _add_words(axes, column, float(at[0, 0]))
        axes.set(xlim=(-0.6, len(columns) - 0.4), ylim=(-1.28, 1.25))
        axes.axis("off")
        made.suptitle(
            "Dropout in one forward pass",
            x=0.015, ha="left", fontweight="bold", fontsize=12,
        )  # fmt: skip
    return made


def _places(index: int, column: Column) -> NDArray[np.float64]:
    """Where the drawn units of a column stand, shape [drawn, 2]."""
    drawn = min(column.units, MOST_UNITS)
    pitch = 1.9 / MOST_UNITS
    heights = (np.arange(drawn)[::-1] - (drawn - 1) / 2) * pitch
    return np.column_stack([np.full(drawn, float(index)), heights])


def _alive(column: Column) -> NDArray[np.bool_]:
    if column.kept is None:
        return np.ones(min(column.units, MOST_UNITS), dtype=bool)
    return column.kept[:MOST_UNITS]


def _add_edges(axes: Any, columns: Sequence[Column], places: Sequence[Any]) -> None:
    """Lines between units that are both there."""
    for index in range(len(columns) - 1):
        one, other = (places[i][_alive(columns[i])] for i in (index, index + 1))
        lines = [(a, b) for a in one for b in other]
        axes.add_collection(
            LineCollection(lines, colors=style.FAINT, linewidths=0.35, alpha=0.4)
        )


def _add_units(axes: Any, column: Column, at: NDArray[np.float64]) -> None:
    alive = _alive(column)
    size: Mapping[str, Any] = {"markersize": 12.5, "linestyle": "none"}
    axes.plot(*at[alive].T, "o", mfc=style.LINES[1], mec=style.PAPER, mew=1.2, **size)
    axes.plot(*at[~alive].T, "o", mfc="#F1F2F4", mec="#B5BAC0", mew=1.0, **size)
    axes.plot(*at[~alive].T, "x", mec=style.LINES[0], mew=2.0, ms=9, ls="none")


def _add_words(axes: Any, column: Column, x: float) -> None:
    words: Mapping[str, Any] = {"ha": "center", "fontsize": 9}
    heading = f"{column.name}\n{column.kind}"
    axes.text(x, 1.03, heading, va="bottom", fontweight="bold", **words)
    drawn = min(column.units, MOST_UNITS)
    count = f"{column.units} units"
    if drawn < column.units:
        count = f"{drawn} of {column.units} units"
    axes.text(x, -1.04, count, va="top", color=style.FAINT, **words)
    if column.kept is not None:
        told = f"p = {column.rate:g}\n{column.dropped} of {column.units} dropped"
        axes.text(x, -1.12, told, va="top", color=style.LINES[0], **words)
