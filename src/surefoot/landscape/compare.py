"""Before and after: two landscapes come in, one picture on one scale goes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from surefoot.landscape import style
from surefoot.landscape.draw import (
    add_colour_bar,
    add_contour,
    add_path,
    evaluated_text,
    short,
)
from surefoot.landscape.land import Drawable, Land, land, scale_of
from surefoot.landscape.relief import add_relief, relief_axes

Numbers = Mapping[str, tuple[float, float]]
"""What a number is called, and what it is before and after."""


def before_after(
    before: Drawable,
    after: Drawable,
    *,
    labels: tuple[str, str] = ("before", "after"),
    numbers: Numbers | None = None,
    title: str = "",
    text: str = "",
) -> Figure:
    """Two landscapes beside each other: one scale of colours, heights and axes.

    Args:
        before: drawn on the left.
        after: drawn on the right: the same directions and the same grid.
        labels: what each is.
        numbers: written above each, as `{"roughness": (0.31, 0.12)}`.
        title: of the figure.
        text: beneath; what may be concluded, and what not.

    Raises:
        ValueError: the grids or directions differ, or they are lines.

    >>> from surefoot.landscape.functions import BOWL, SADDLE
    >>> made = before_after(BOWL.field(11), BOWL.field(11), labels=("one", "two"))
    >>> [one.get_title(loc="left") for one in made.axes[2:4]]
    ['one', 'two']
    """
    pair = land(before), land(after)
    _check(*pair)
    scale = scale_of(*pair)
    with style.styled():
        made = style.figure(9.4, 7.4)
        grid = made.add_gridspec(2, 2, height_ratios=(1.15, 1))
        above: list[Any] = []
        for column, seen in enumerate(pair):
            above.append(made.add_subplot(grid[1, column]))
            add_contour(above[-1], seen, scale)
            add_path(above[-1], seen.path)
        for column, seen in enumerate(pair):
            space = relief_axes(made, grid[0, column])
            add_relief(space, seen, scale)
            heading = labels[column] + _told(numbers or {}, column)
            space.set_title(heading, loc="left", fontsize=9.5)
        add_colour_bar(made, scale, above)
        made.suptitle(title, x=0.015, ha="left", fontweight="bold", fontsize=12)
        style.caption(made, "\n".join(filter(None, (text, *_errors(labels, pair)))))
    return made


def _told(numbers: Numbers, column: int) -> str:
    told = [f"{name} {short(pair[column])}" for name, pair in numbers.items()]
    return "\n" + ",  ".join(told) if told else ""


def _errors(labels: tuple[str, str], pair: tuple[Land, Land]) -> list[str]:
    """A line for each, or one for both where they say the same."""
    told = [evaluated_text(one.about) for one in pair]
    if told[0] == told[1]:
        return told[:1]
    return [f"{label}: {one}" for label, one in zip(labels, told, strict=True) if one]


def _check(before: Land, after: Land) -> None:
    if not (len(before.betas) and len(after.betas)):
        raise ValueError("a landscape over one direction came; two are compared")
    same = (before.alphas, before.betas), (after.alphas, after.betas)
    if not all(
        len(one) == len(other) and np.allclose(one, other)
        for one, other in zip(*same, strict=True)
    ):
        raise ValueError(
            f"the grids differ: {_grid(before)} before, {_grid(after)} after; draw "
            "both with the same directions, extent and points"
        )
    named = [one.about.get("directions") for one in (before, after)]
    if named[0] != named[1]:
        raise ValueError(
            f"the directions differ: {named[0]} before, {named[1]} after; heights "
            "along different directions do not compare"
        )


def _grid(one: Land) -> str:
    left, right, bottom, top = one.extent
    return (
        f"{len(one.alphas)} x {len(one.betas)} points over "
        f"[{left:g}, {right:g}] x [{bottom:g}, {top:g}]"
    )
