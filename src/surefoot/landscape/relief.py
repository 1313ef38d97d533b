"""Surfaces in space: a landscape comes in, drawn into axes of matplotlib.

The camera sees in parallel, so that whether a hill hides a point is told by one ray.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import LightSource
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from surefoot.landscape import style
from surefoot.landscape.land import Doubles, Land, Scale

BOX = (1.0, 1.0, 0.62)
"""Sides of the drawn box: as high as a relief needs, not more."""

CELLS = 90
"""Of a side: smaller ones than two pixels make a moiré of their edges."""

RAY = 160
"""Points of a ray towards the camera: finer than the cells of any grid drawn here."""


def relief_axes(
    made: Figure,
    place: SubplotSpec | int,
    *,
    azimuth: float = -60.0,
    elevation: float = 42.0,
) -> Any:
    """Axes in space without clutter, seen from the given angles (degrees)."""
    axes: Any = made.add_subplot(place, projection="3d", computed_zorder=False)
    axes.set_proj_type("ortho")
    axes.view_init(elev=elevation, azim=azimuth)
    axes.set_box_aspect(BOX, zoom=1.08)
    axes.grid(visible=False)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_pane_color((1, 1, 1, 0))
        axis.line.set_color("#B9BEC4")
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10], prune="both"))
    return axes


def add_relief(
    axes: Any, seen: Land, scale: Scale, *, path: bool = True, label: bool = True
) -> None:
    """The surface with its light, contours of height on it, and the path."""
    heights = scale.heights(np.minimum(seen.heights, scale.high))
    stride = -(-max(heights.shape) // CELLS)
    axes.plot_surface(
        *np.meshgrid(seen.alphas, seen.betas, indexing="ij"), heights,
        facecolors=_lit(seen, scale, heights), rstride=stride, cstride=stride,
        shade=False, linewidth=0.15, antialiased=True, zorder=1,
    )  # fmt: skip
    low, high = scale.heights(np.array([scale.low, scale.high]))
    axes.set_xlim(*seen.extent[:2], view_margin=0)
    axes.set_ylim(*seen.extent[2:], view_margin=0)
    axes.set_zlim(low, high, view_margin=0)
    if scale.log:
        axes.zaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.zaxis.set_major_formatter(FuncFormatter(_power))
    axes.tick_params(pad=-2, labelsize=7.5)
    if label:
        axes.set_xlabel(_direction(seen, 0), labelpad=-4, fontsize=8)
        axes.set_ylabel(_direction(seen, 1), labelpad=-4, fontsize=8)
        top = (seen.alphas[-1], seen.betas[-1], high + 0.03 * (high - low))
        axes.text(*top, "loss", ha="center", va="bottom")
    if path and len(seen.path):
        add_path_in_space(axes, seen, scale)


def _power(height: float, position: int | None) -> str:
    return f"$10^{{{height:.0f}}}$"


def _direction(seen: Land, axis: int) -> str:
    named = seen.about.get("directions") or ("α", "β")
    return str(named[axis])


def _lit(seen: Land, scale: Scale, heights: Doubles) -> Any:
    """Colours of the cells, lit from the upper left."""
    light = LightSource(azdeg=300, altdeg=50)
    rise = (heights - np.nanmin(heights)) / (np.ptp(heights[np.isfinite(heights)]) or 1)
    cell = 1.6 / max(heights.shape)
    shade = light.hillshade(
        np.nan_to_num(rise, nan=1.0), vert_exag=1.0, dx=cell, dy=cell
    )
    colours = style.TERRAIN(scale.share(np.nan_to_num(seen.heights, nan=scale.high)))
    colours[..., :3] *= (0.72 + 0.34 * shade[..., None]).clip(0, 1.06)
    return colours.clip(0, 1)


def add_path_in_space(
    axes: Any, seen: Land, scale: Scale, *, colour: str = style.LINES[0]
) -> None:
    """The path at the heights of the surface; dotted where a hill hides it."""
    heights = scale.heights(seen.at(seen.path))
    points = np.column_stack([seen.path, heights])
    shown = visible(axes, seen, scale, points=points)
    front = np.where(shown[:, None], points, np.nan)
    axes.plot(*points.T, color=colour, linewidth=1.0, linestyle=":", zorder=4)
    axes.plot(*front.T, color=colour, linewidth=1.8, zorder=5)
    axes.plot(*points[:1].T, "o", mfc=style.PAPER, mec=colour, markersize=6, zorder=6)
    axes.plot(*points[-1:].T, "*", mfc=colour, mec=colour, markersize=10, zorder=6)


def visible(
    axes: Any, seen: Land, scale: Scale, *, points: Doubles
) -> NDArray[np.bool_]:
    """Which points of a surface no hill stands before.

    Args:
        axes: made by `relief_axes`, its limits set.
        seen: the landscape.
        scale: of its heights.
        points: in the coordinates of the axes, shape [n, 3].

    Returns:
        Shape [n].
    """
    limits = np.array([axes.get_xlim(), axes.get_ylim(), axes.get_zlim()])
    ranges = np.ptp(limits, axis=1)
    azimuth, elevation = np.radians([axes.azim, axes.elev])
    toward = np.array(
        [
            np.cos(elevation) * np.cos(azimuth),
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
        ]
    )
    ahead = toward * ranges / np.array(BOX)
    steps = np.linspace(0.02, 1.5, RAY)[:, None, None]
    ray = points[None] + steps * ahead
    ground = scale.heights(seen.at(ray[..., :2].reshape(-1, 2))).reshape(ray.shape[:2])
    lift = 0.01 * ranges[2]
    with np.errstate(invalid="ignore"):
        return ~(ground > ray[..., 2] + lift).any(axis=0)
