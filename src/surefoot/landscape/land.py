"""A recorded landscape comes in, numbers that are ready to draw go out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from surefoot.types import Field

Doubles = NDArray[np.float64]

LOG_PAYS = 30.0
"""A logarithmic scale is drawn where losses span more than this factor; the page of a
run switches there too."""

DECADES = 4.0
"""Below the highest loss, of a function that touches zero: lower ones look alike."""


class Sliced(Protocol):
    """What a surface is: it gives its numbers as a field."""

    def field(self) -> Field:
        """Losses over the directions of the slice."""
        ...


Drawable = Field | Sliced


@dataclass(frozen=True, slots=True, eq=False)
class Land:
    """A landscape over one or two directions.

    Attributes:
        alphas: float64, ascending, shape [columns].
        betas: float64, ascending, shape [rows]; empty for a line.
        heights: losses, float64, shape [columns, rows] or [columns]; NaN where the
            loss was not finite.
        path: where the training went, shape [points, 2].
        about: what else the field says.
    """

    alphas: Doubles
    betas: Doubles
    heights: Doubles
    path: Doubles
    about: Mapping[str, Any]

    @property
    def span(self) -> tuple[float, float]:
        """Smallest and largest finite loss."""
        return float(np.nanmin(self.heights)), float(np.nanmax(self.heights))

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top."""
        return (
            float(self.alphas[0]),
            float(self.alphas[-1]),
            float(self.betas[0]),
            float(self.betas[-1]),
        )

    def at(self, points: Doubles) -> Doubles:
        """Losses between the points of the grid, by bilinear interpolation.

        Args:
            points: shape [n, 2].

        Returns:
            Shape [n]; NaN outside the grid and beside losses that are not finite.
        """
        column, across = _place(self.alphas, points[:, 0])
        row, along = _place(self.betas, points[:, 1])
        corners = [
            self.heights[column + i, row + j] * _weight(across, i) * _weight(along, j)
            for i in (0, 1)
            for j in (0, 1)
        ]
        outside = (across < 0) | (across > 1) | (along < 0) | (along > 1)
        return np.where(outside, np.nan, sum(corners))


def _weight(share: Doubles, corner: int) -> Doubles:
    return share if corner else 1 - share


def _place(ticks: Doubles, at: Doubles) -> tuple[NDArray[np.intp], Doubles]:
    """The cell that each coordinate lies in, and the share of it that lies before."""
    cell = np.clip(np.searchsorted(ticks, at, side="right") - 1, 0, len(ticks) - 2)
    return cell, (at - ticks[cell]) / (ticks[cell + 1] - ticks[cell])


def land(drawable: Drawable, *, kinds: tuple[str, ...] = ("landscape",)) -> Land:
    """The numbers of a landscape.

    Args:
        drawable: a field, or a surface that gives one.
        kinds: of fields that may come.

    Raises:
        ValueError: the field is of another kind, has no finite loss, or too few
            points to draw.

    >>> from surefoot.landscape.functions import BOWL
    >>> land(BOWL.field(3)).heights
    array([[4., 2., 4.],
           [2., 0., 2.],
           [4., 2., 4.]])
    """
    field = drawable if isinstance(drawable, Field) else drawable.field()
    if field.kind not in kinds:
        raise ValueError(
            f'a field of kind "{field.kind}" came; expected "{" or ".join(kinds)}"'
        )
    axes = [np.asarray(one, dtype=np.float64) for one in field.axes.values()]
    heights = np.asarray(field.values, dtype=np.float64)
    if len(axes) not in (1, 2) or min(map(len, axes)) < 2:
        shape = " x ".join(str(len(one)) for one in axes)
        raise ValueError(f"a grid of {shape} came; expected at least 2 points a side")
    heights, axes = _ascending(np.where(np.isfinite(heights), heights, np.nan), axes)
    if np.isnan(heights).all():
        raise ValueError("no loss of this landscape is finite: there is none to draw")
    path = np.asarray(field.about.get("path") or np.empty((0, 2)), dtype=np.float64)
    betas = axes[1] if len(axes) == 2 else np.empty(0)
    return Land(axes[0], betas, heights, path.reshape(-1, 2), field.about)


def _ascending(heights: Doubles, axes: list[Doubles]) -> tuple[Doubles, list[Doubles]]:
    orders = [np.argsort(one) for one in axes]
    for index, order in enumerate(orders):
        heights = np.take(heights, order, axis=index)
    return heights, [one[order] for one, order in zip(axes, orders, strict=True)]


@dataclass(frozen=True, slots=True)
class Scale:
    """How losses become heights and colours: linear, or by their logarithm."""

    low: float
    high: float
    log: bool

    def share(self, losses: Doubles) -> Doubles:
        """0 at the lowest to 1 at the highest, for colours.

        Colours of a linear scale go by the square root, as contours of a quadratic
        bowl do that lie at even distances.
        """
        if self.log:
            ratio = np.log(np.clip(losses, self.low, self.high) / self.low)
            return ratio / np.log(self.high / self.low)
        return np.sqrt(np.clip((losses - self.low) / self._span, 0, 1))

    def losses(self, shares: Doubles) -> Doubles:
        """The inverse of `share`."""
        if self.log:
            return self.low * (self.high / self.low) ** shares
        return self.low + self._span * shares**2

    def heights(self, losses: Doubles) -> Doubles:
        """What is drawn upwards: losses, or powers of ten."""
        if self.log:
            return np.log10(np.clip(losses, self.low, None))
        return losses

    @property
    def _span(self) -> float:
        return self.high - self.low


def scale_of(*lands: Land, log: bool | None = None) -> Scale:
    """One scale for all of them.

    Args:
        lands: at least one.
        log: logarithmic or not; None decides: where they span more than `LOG_PAYS`
            times, or where they say so.

    >>> from surefoot.landscape.functions import BOWL, SADDLE
    >>> scale_of(land(BOWL.field(5)), land(SADDLE.field(5)))
    Scale(low=-0.75, high=4.0, log=False)
    """
    low = min(one.span[0] for one in lands)
    high = max(one.span[1] for one in lands)
    if low == high:  # a flat landscape: any height does, but not none
        pad = abs(low) / 100 or 1.0
        return Scale(low - pad, high + pad, log=False)
    asked = any(one.about.get("log") for one in lands)
    pays = low > 0 and high / low > LOG_PAYS
    if (asked or pays if log is None else log) and high > 0:
        return Scale(max(low, high * 10**-DECADES), high, log=True)
    return Scale(low, high, log=False)
