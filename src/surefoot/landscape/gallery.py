"""The gallery: functions come in; each is named by its curvature, and drawn.

The names are not ours to give: `surefoot.curvature.classify` tells them from the
gradient norm and the ends of the Hessian's spectrum, as it does for a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from surefoot.curvature.classify import Point, classify_function
from surefoot.landscape import style
from surefoot.landscape.draw import add_contour, short
from surefoot.landscape.functions import GALLERY, Function2D
from surefoot.landscape.land import Land, Scale, land, scale_of
from surefoot.landscape.relief import add_relief, relief_axes


@dataclass(frozen=True, slots=True)
class Labelled:
    """A function, and what kind of point its point of interest is."""

    function: Function2D
    point: Point


def labelled(functions: Sequence[Function2D] = GALLERY) -> tuple[Labelled, ...]:
    """Each function with the name that its curvature gives to its point of interest.

    >>> {one.function.name: one.point.kind for one in labelled()}["Saddle"]
    'saddle'
    """
    return tuple(
        Labelled(
            one,
            classify_function(one.value, torch.tensor(one.point, dtype=torch.float64)),
        )
        for one in functions
    )


def gallery(functions: Sequence[Function2D] = GALLERY) -> Figure:
    """One picture of all: each as a surface and from above, with its name and why.

    Args:
        functions: drawn two in a row.
    """
    panels = labelled(functions)
    rows = -(-len(panels) // 2)
    with style.styled():
        made = style.figure(10.4, 3.15 * rows)
        made.set_layout_engine("none")
        outer: Any = made.subfigures(rows, 2, squeeze=False)
        for place, panel in zip(outer.flat, panels, strict=False):
            _draw(place, panel)
    return made


def _draw(place: Any, panel: Labelled) -> None:
    seen = land(panel.function.field())
    scale = scale_of(seen, log=False)
    place.suptitle(
        f"{panel.function.name}:  {panel.function.formula}",
        x=0.02, y=0.97, ha="left", fontsize=10.5, fontweight="bold",
    )  # fmt: skip
    space = relief_axes(place, 121, elevation=46)
    space.set_position((-0.03, 0.1, 0.66, 0.8))
    add_relief(space, seen, scale, path=False, label=False)
    _bare(space)
    _mark_in_space(space, seen, scale, panel.function.point)
    above = place.add_axes((0.615, 0.225, 0.36, 0.62))
    add_contour(above, seen, scale, levels=16)
    above.set(xlabel="", ylabel="", xticks=[], yticks=[])
    _mark(above, panel.function.point)
    place.text(0.02, 0.125, _told(panel.point), fontsize=9, fontweight="bold")
    place.text(0.02, 0.06, panel.function.lesson, fontsize=8.5)


def _told(point: Point) -> str:
    """The name of a point and its numbers; what rounding leaves of zero is zero."""
    slope = round(point.gradient_norm.value, 12)
    return (
        f"{point.kind.upper()}   ‖g‖ {short(slope)},   "
        f"λ from {short(point.lowest.value)} to {short(point.highest.value)}"
    )


def _bare(axes: Any) -> None:
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.line.set_color((0, 0, 0, 0))
        axis.set_major_locator(NullLocator())
    axes.set_box_aspect((1, 1, 0.62), zoom=1.02)


def _mark_in_space(
    axes: Any, seen: Land, scale: Scale, point: tuple[float, float]
) -> None:
    height = scale.heights(seen.at(np.array([point])))
    axes.plot([point[0]], [point[1]], height, "o", zorder=6, **_ring())


def _mark(axes: Any, point: tuple[float, float]) -> None:
    axes.plot(*point, "o", **_ring())


def _ring() -> dict[str, Any]:
    return {"mfc": style.LINES[0], "mec": style.PAPER, "mew": 1.3, "markersize": 7.5}
