"""How pictures look: nothing comes in, colours, figures and files go out.

No global state of matplotlib is changed: figures have a canvas of their own, and
settings hold while one is drawn.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import cast

import matplotlib as mpl
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from surefoot.landscape.land import Scale

LINES: tuple[str, ...] = (
    "#D55E00", "#0072B2", "#1B1B1B", "#009E73", "#C0529B", "#E69F00", "#56B4E9",
)  # fmt: skip
"""Told apart by people who see fewer colours: the set of M. Okabe and K. Ito (2008),
its purple a little darker for thin lines."""

MARKERS: tuple[str, ...] = ("o", "s", "^", "D", "v", "P", "X")
"""So that no line is known by its colour alone."""

INK = "#22262B"
FAINT = "#6B727B"
PAPER = "#FFFFFF"
MISSING = "#E6E6E6"
DANGER = "#B3261E"

EXACT: tuple[str, ...] = (*LINES, INK, FAINT, PAPER)
"""Colours that a picture of few colours must not change."""

TERRAIN = LinearSegmentedColormap.from_list(
    "surefoot",
    ("#FFFCEB", "#E8F0D9", "#C3DFD6", "#97C2D3", "#7399C3", "#5B6FA8", "#4A4A86"),
)
"""Light valleys, dark heights, of falling lightness: paths stand out in both."""

DIVERGING = LinearSegmentedColormap.from_list(
    "surefoot-signed", ("#0072B2", "#9CC6E0", "#F7F7F5", "#F2B48C", "#B5480A")
)

HALO = (patheffects.withStroke(linewidth=3.2, foreground=PAPER, alpha=0.85),)
"""Around lines on a coloured ground."""

_SETTINGS: tuple[tuple[str, object], ...] = (
    ("font.family", "DejaVu Sans"),  # comes with matplotlib
    ("font.size", 9.0),
    ("axes.titlesize", 10.5),
    ("axes.titleweight", "bold"),
    ("axes.titlelocation", "left"),
    ("axes.labelsize", 9.0),
    ("axes.edgecolor", "#9AA1A9"),
    ("axes.labelcolor", INK),
    ("axes.titlecolor", INK),
    ("axes.linewidth", 0.8),
    ("axes.formatter.useoffset", False),
    ("text.color", INK),
    ("xtick.color", FAINT),
    ("ytick.color", FAINT),
    ("xtick.labelsize", 8.0),
    ("ytick.labelsize", 8.0),
    ("xtick.major.size", 2.5),
    ("ytick.major.size", 2.5),
    ("legend.frameon", False),
    ("legend.fontsize", 8.5),
    ("figure.facecolor", PAPER),
    ("savefig.facecolor", PAPER),
    ("hatch.linewidth", 0.6),
    ("mathtext.fontset", "dejavusans"),
    ("svg.hashsalt", "surefoot"),  # the same file from the same numbers
)


@contextmanager
def styled() -> Generator[None]:
    """Our settings while a figure is made or saved; those of the user afterwards."""
    with mpl.rc_context():
        mpl.rcdefaults()
        for name, value in _SETTINGS:
            cast(dict[str, object], mpl.rcParams)[name] = value
        yield


def figure(width: float, height: float, *, dpi: float = 150.0) -> Figure:
    """An empty figure, in inches, that no window knows of."""
    made = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    FigureCanvasAgg(made)
    return made


def save(made: Figure, path: str | Path) -> Path:
    """Write a figure as what its name ends with: .png, .svg or .pdf.

    The same figure gives the same bytes: no date is written.

    Raises:
        ValueError: the name ends otherwise.
    """
    path = Path(path)
    known = {".png": {"Software": None}, ".svg": {"Date": None}}
    known |= {".pdf": {"CreationDate": None}}
    if path.suffix.lower() not in known:
        raise ValueError(
            f'"{path.name}" came; expected a name that ends in .png, .svg or .pdf'
        )
    with styled():
        made.savefig(path, metadata=known[path.suffix.lower()])
    return path


def line_looks(names: tuple[str, ...]) -> dict[str, tuple[str, str]]:
    """A colour and a marker for each name, in the order they come.

    >>> line_looks(("SGD", "Adam", "SGD"))["Adam"]
    ('#0072B2', 's')
    """
    looks = zip(cycle(LINES), cycle(MARKERS), strict=False)
    return dict(zip(dict.fromkeys(names), looks, strict=False))


def caption(made: Figure, text: str) -> None:
    """A line or two beneath all axes."""
    if text:
        made.supxlabel(text, fontsize=8, color=FAINT, ha="left", x=0.015)


def missing_ground(axes: Axes) -> None:
    """Hatch what lies beneath, to be seen where there is no number."""
    axes.add_patch(
        Rectangle(
            (0, 0), 1, 1, transform=axes.transAxes, zorder=0, facecolor=MISSING,
            edgecolor="#B5B5B5", hatch="////", linewidth=0,
        )
    )  # fmt: skip


def colours(scale: Scale, losses: object) -> object:
    """RGBA of losses on a scale."""
    return TERRAIN(scale.share(losses))  # pyright: ignore[reportArgumentType]
