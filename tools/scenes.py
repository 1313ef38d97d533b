"""What a picture shows, as data: nothing comes in, frozen scenes go out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Tone = Literal["bad", "good", "other"]


@dataclass(frozen=True)
class Line:
    """Values `y` over `x`, both of shape `[n]`; what is not finite is a gap."""

    name: str
    x: Array
    y: Array
    tone: Tone = "other"
    large: bool = False
    """Whether its points are drawn large: the accused one among several."""


@dataclass(frozen=True)
class Plot:
    """Lines over steps, or points over the layers that `places` names.

    `bound` is drawn across, `onset` upright; `gap` says what a stretch without finite
    values is.
    """

    title: str
    x_name: str
    y_name: str
    lines: tuple[Line, ...]
    bound: float | None = None
    bound_name: str = "bound"
    onset: int | None = None
    places: tuple[str, ...] = ()
    log: bool = False
    gap: str = ""


@dataclass(frozen=True)
class Bars:
    """For each of `groups` one bar a row: `(name, tone, values)`."""

    title: str
    x_name: str
    y_name: str
    groups: tuple[str, ...]
    rows: tuple[tuple[str, Tone, tuple[float, ...]], ...]


@dataclass(frozen=True)
class Span:
    """A stretch of steps with a word on it."""

    first: float
    last: float
    text: str
    tone: Tone


@dataclass(frozen=True)
class Bands:
    """Rows of stretches over steps."""

    title: str
    rows: tuple[tuple[str, tuple[Span, ...]], ...]
    steps: int
    onset: int | None = None


@dataclass(frozen=True)
class Chain:
    """Boxes from the network (below) to the loss (above); `wrong` are marked."""

    title: str
    boxes: tuple[str, ...]
    wrong: tuple[int, ...] = ()
    aside: tuple[str, ...] = ()
    """Boxes that hang on nothing."""


Scene = Plot | Bars | Bands | Chain
