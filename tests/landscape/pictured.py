"""What the tests of pictures share: fields to draw, and pixels of what was drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text

from surefoot.landscape.functions import DOUBLE_WELL, Function2D
from surefoot.types import Field


def field(
    function: Function2D = DOUBLE_WELL,
    *,
    points: int = 13,
    values: Any = None,
    **about: Any,
) -> Field:
    """A function as a recorded landscape, with what else it says of itself."""
    made = function.field(points)
    losses = made.values if values is None else np.asarray(values, dtype=np.float32)
    return replace(made, values=losses, about={**made.about, **about})


def along_one_direction(losses: Any, **about: Any) -> Field:
    """A landscape over one direction, from -1 to 1."""
    values = np.asarray(losses, dtype=np.float32)
    alphas = np.linspace(-1, 1, len(values)).tolist()
    return Field(0, "landscape", {"alpha": alphas}, values, about=about)


def pixels(figure: Figure) -> np.ndarray[Any, Any]:
    """What is seen of a figure, uint8, shape [height, width, 3]."""
    canvas: Any = figure.canvas
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def settings() -> Mapping[str, Any]:
    """The user's settings of matplotlib."""
    return dict(mpl.rcParams)


def texts(figure: Figure) -> str:
    """All that is written in a figure, also in its subfigures."""
    found = figure.findobj(Text)
    return "\n".join(one.get_text() for one in found if isinstance(one, Text))
