"""Figures of landscapes: a field or a surface comes in, a matplotlib Figure goes out.

    save(contour(surface), "surface.png")

The figures are matplotlib's own: add to them, or give them to a notebook. Needs the
extra "plot": `pip install surefoot[plot]`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import FuncNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from surefoot.landscape import style
from surefoot.landscape.land import Doubles, Drawable, Land, Scale, land, scale_of
from surefoot.landscape.relief import add_relief, relief_axes

LEVELS = 24
"""Contours of a picture: more run together at half its size."""


def contour(drawable: Drawable, *, log: bool | None = None) -> Figure:
    """The landscape from above: colours, contours, the training's path.

    Points that were evaluated are dotted where others were interpolated; the caption
    says how many there are, and the error of the rest.

    Args:
        drawable: a field of kind "landscape" over two directions, or a surface.
        log: a logarithmic scale or not; None decides by the losses.

    Raises:
        ValueError: it is no landscape, or a line.

    >>> from surefoot.landscape.functions import SADDLE
    >>> contour(SADDLE.field(21)).axes[0].get_xlabel()
    'x'
    """
    seen = _two_directions(drawable)
    scale = scale_of(seen, log=log)
    with style.styled():
        made = style.figure(5.6, 4.7)
        axes = made.add_subplot()
        add_contour(axes, seen, scale)
        add_path(axes, seen.path)
        add_colour_bar(made, scale, [axes])
        axes.set_title(title(seen))
        style.caption(made, evaluated_text(seen.about))
    return made


def relief(
    drawable: Drawable,
    *,
    log: bool | None = None,
    azimuth: float = -60.0,
    elevation: float = 42.0,
) -> Figure:
    """The landscape as a surface in space, its path on it, dotted where it is hidden.

    Args:
        drawable: as of `contour`.
        log: as of `contour`; heights are powers of ten then.
        azimuth: degrees that the camera is turned about the vertical.
        elevation: degrees that it stands above the horizon.

    Raises:
        ValueError: as of `contour`.
    """
    seen = _two_directions(drawable)
    scale = scale_of(seen, log=log)
    with style.styled():
        made = style.figure(5.6, 4.7)
        axes = relief_axes(made, 111, azimuth=azimuth, elevation=elevation)
        add_relief(axes, seen, scale)
        _add_title(made, title(seen))
        style.caption(made, evaluated_text(seen.about))
    return made


def both(drawable: Drawable, *, log: bool | None = None) -> Figure:
    """Side by side: the path from above on the left, the surface on the right.

    Args:
        drawable: as of `contour`.
        log: as of `contour`.

    Raises:
        ValueError: as of `contour`.
    """
    seen = _two_directions(drawable)
    scale = scale_of(seen, log=log)
    with style.styled():
        made = style.figure(9.4, 4.5)
        left = made.add_subplot(1, 2, 1)
        add_contour(left, seen, scale)
        add_path(left, seen.path)
        add_colour_bar(made, scale, [left])
        right = relief_axes(made, 122)
        add_relief(right, seen, scale)
        _add_title(made, title(seen))
        style.caption(made, evaluated_text(seen.about))
    return made


def line(drawable: Drawable, *, log: bool | None = None) -> Figure:
    """The loss along one direction, the points that were evaluated marked.

    Args:
        drawable: a field of kind "landscape" over one direction, or a surface.
        log: as of `contour`.

    Raises:
        ValueError: it is no landscape, or has two directions.
    """
    seen = land(drawable)
    if len(seen.betas):
        raise ValueError("a landscape over two directions came; draw it with contour()")
    scale = scale_of(seen, log=log)
    with style.styled():
        made = style.figure(5.6, 3.6)
        axes = made.add_subplot()
        axes.plot(seen.alphas, seen.heights, color=style.LINES[1], linewidth=1.8)
        at = _evaluated(seen)[:, 0]
        axes.plot(seen.alphas[at], seen.heights[at], "o", markersize=3, color=style.INK)
        for low, high in _gaps(seen):
            axes.axvspan(low, high, facecolor=style.MISSING, hatch="////", linewidth=0)
        axes.set_yscale("log" if scale.log else "linear")
        axes.grid(axis="y", color="#ECEEF0")
        axes.set(xlabel=axis_label(seen.about, 0), ylabel="loss", title=title(seen))
        axes.spines[["top", "right"]].set_visible(False)
        add_marks(axes, seen)
        style.caption(made, evaluated_text(seen.about))
    return made


def _add_title(made: Figure, text: str) -> None:
    made.suptitle(text, x=0.015, ha="left", fontweight="bold", fontsize=11)


def _gaps(seen: Land) -> list[tuple[float, float]]:
    """Where the loss along a line is not finite, up to its finite neighbours."""
    missing = np.flatnonzero(np.isnan(seen.heights))
    last = len(seen.alphas) - 1
    return [
        (float(seen.alphas[max(i - 1, 0)]), float(seen.alphas[min(i + 1, last)]))
        for i in missing
    ]


def _two_directions(drawable: Drawable) -> Land:
    seen = land(drawable)
    if not len(seen.betas):
        raise ValueError("a landscape over one direction came; draw it with line()")
    return seen


# --- parts that other pictures are made of --------------------------------------


def add_contour(axes: Axes, seen: Land, scale: Scale, *, levels: int = LEVELS) -> None:
    """Colours and contour lines on a scale, marks, and what was evaluated."""
    grid = np.ma.masked_invalid(seen.heights.T)
    at = scale.losses(np.linspace(0, 1, levels + 1))
    shades = style.TERRAIN(np.linspace(0, 1, levels))
    if grid.mask.any():
        style.missing_ground(axes)
    low = np.ma.maximum(grid, scale.low)
    axes.contourf(
        seen.alphas, seen.betas, low, levels=at, colors=list(shades), extend="max"
    )
    axes.contour(
        seen.alphas, seen.betas, low, levels=at[1:-1:2], colors=style.INK,
        linewidths=0.35, linestyles="solid", alpha=0.5,
    )  # fmt: skip
    _add_evaluated(axes, seen)
    add_marks(axes, seen)
    axes.set(xlabel=axis_label(seen.about, 0), ylabel=axis_label(seen.about, 1))
    axes.set(xlim=seen.extent[:2], ylim=seen.extent[2:])


def _add_evaluated(axes: Axes, seen: Land) -> None:
    at = _evaluated(seen)
    if 0 < len(at) < seen.heights.size:
        axes.plot(
            seen.alphas[at[:, 0]], seen.betas[at[:, 1]], ".", markersize=2.4,
            color=style.INK, alpha=0.55, markeredgewidth=0,
        )  # fmt: skip


def _evaluated(seen: Land) -> Any:
    told = seen.about.get("evaluated")
    if told is None:
        return np.argwhere(np.isfinite(seen.heights)) if not len(seen.betas) else (
            np.empty((0, 2), dtype=int)
        )  # fmt: skip
    return np.asarray(told, dtype=int).reshape(len(told), -1)


def add_marks(axes: Axes, seen: Land) -> None:
    """Named places, each with a ring, and with its label where there is room for it."""
    marks = seen.about.get("marks") or ()
    places = [_place_of(mark, seen) for mark in marks]
    labels = [str(mark["label"]) for mark in marks]
    shown = labels_with_room(places, labels, _extent(seen))
    for at, ((x, y), label) in enumerate(zip(places, labels, strict=True)):
        axes.plot(x, y, "o", markersize=6, mfc="none", mec=style.INK, mew=1.3)
        if at in shown:
            axes.annotate(
                label, (x, y), xytext=(6, 5), textcoords="offset points",
                fontsize=8.5, path_effects=style.HALO,
            )  # fmt: skip


LETTER, LINE = 0.02, 0.045
"""Room that a letter of a label takes, as a share of the width of a figure's axes, and
that a label takes of their height."""


def labels_with_room(
    places: Sequence[tuple[float, float]],
    labels: Sequence[str],
    extent: tuple[float, float, float, float],
) -> set[int]:
    """Which labels are drawn: the first, the last, and what overlaps none before it.

    >>> places = [(0.0, 0.0), (0.5, 0.5), (0.98, 1.0), (1.0, 1.0)]
    >>> sorted(labels_with_room(places, ["start", "a", "near", "end"], (0, 1, 0, 1)))
    [0, 1, 3]
    """
    ends = [0, len(places) - 1] if places else []
    left, right, low, high = extent
    taken: dict[int, tuple[float, float, float]] = {}
    for at in [*ends, *range(1, len(places) - 1)]:
        x = (places[at][0] - left) / (right - left)
        y = (places[at][1] - low) / (high - low)
        wide = LETTER * len(labels[at])
        free = all(
            x >= other + width or other >= x + wide or abs(y - height) >= LINE
            for other, height, width in taken.values()
        )
        if free:
            taken[at] = (x, y, wide)
    return set(taken)


def _extent(seen: Land) -> tuple[float, float, float, float]:
    if len(seen.betas):
        return seen.extent
    low, high = np.nanmin(seen.heights), np.nanmax(seen.heights)
    room = float(high - low) or 1.0
    left, right = float(seen.alphas[0]), float(seen.alphas[-1])
    return left, right, float(low), float(low) + room


def _place_of(mark: Mapping[str, Any], seen: Land) -> tuple[float, float]:
    x, *rest = (float(one) for one in mark["at"])
    return x, rest[0] if rest and len(seen.betas) else float(_height(seen, x))


def _height(seen: Land, x: float) -> float:
    return float(np.interp(x, seen.alphas, seen.heights))


def add_path(axes: Axes, path: Doubles, *, colour: str = style.LINES[0]) -> None:
    """A path from above: a ring at its start, a star at its end."""
    if not len(path):
        return
    axes.plot(*path.T, color=colour, linewidth=1.6, path_effects=style.HALO)
    axes.plot(*path.T, ".", color=colour, markersize=3.5)
    looks: Mapping[str, Any] = {"mec": colour, "mew": 1.5, "linestyle": "none"}
    axes.plot(*path[0], "o", mfc=style.PAPER, markersize=6.5, label="start", **looks)
    axes.plot(*path[-1], "*", mfc=colour, markersize=11, label="end", **looks)
    axes.legend(
        loc="lower right", frameon=True, framealpha=0.85, edgecolor="none",
        borderpad=0.3, handletextpad=0.2,
    )  # fmt: skip


def add_colour_bar(made: Figure, scale: Scale, axes: list[Any]) -> None:
    """The losses that colours stand for."""
    norm = FuncNorm((scale.share, scale.losses), scale.low, scale.high)
    bar = made.colorbar(
        ScalarMappable(norm, style.TERRAIN), ax=axes, shrink=0.9, pad=0.02, aspect=28
    )
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    bar.set_ticks(list(scale.losses(np.linspace(0, 1, 6))))
    bar.ax.minorticks_off()
    bar.ax.yaxis.set_major_formatter(FuncFormatter(_tick))
    bar.ax.set_title("loss", fontsize=8.5, fontweight="normal", color=style.FAINT)


def _tick(loss: float, position: int | None) -> str:
    return short(loss)


def short(loss: float) -> str:
    """Three digits of a loss.

    >>> short(0.012345), short(1234.5), short(-0.0), short(123456789.0)
    ('0.0123', '1230', '0', '1.2e+08')
    """
    if loss == 0:
        return "0"
    if not 1e-3 <= abs(loss) < 1e5:
        return f"{loss:.1e}".replace("-", "−")
    return np.format_float_positional(
        loss, precision=3, unique=False, fractional=False, trim="-"
    ).replace("-", "−")


def title(seen: Land) -> str:
    """What the field calls itself."""
    return str(seen.about.get("title") or "Loss landscape")


def axis_label(about: Mapping[str, Any], axis: int) -> str:
    """The name of a direction, and the share of the path that runs along it."""
    named = about.get("directions") or ("α", "β")
    label = str(named[axis]) if axis < len(named) else ("α", "β")[axis]
    shares = about.get("explained") or ()
    if axis < len(shares):
        label += f"  ({100 * float(shares[axis]):.3g} % of the path)"
    return label


def evaluated_text(about: Mapping[str, Any]) -> str:
    """How many losses were computed, and the error of those between."""
    parts: list[str] = []
    if about.get("evaluations"):
        parts.append(f"{about['evaluations']} evaluations")
    error = about.get("error") or {}
    if np.isfinite(error.get("p95") or np.nan) and error["p95"] > 0:
        parts.append(
            f"between them interpolated: error {100 * float(error['median']):.2g} % "
            f"of the range at the median, {100 * float(error['p95']):.2g} % at the "
            "95th percentile"
        )
    if about.get("mode"):
        parts.append(f"{about['mode']} mode")
    return "; ".join(parts)
