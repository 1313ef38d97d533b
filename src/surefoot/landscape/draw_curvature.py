"""Figures of curvature: a convexity map or a spectrum comes in, a Figure goes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from surefoot.landscape import style
from surefoot.landscape.draw import axis_label, title
from surefoot.landscape.land import Doubles, Drawable, land
from surefoot.types import Field

DECADES = 5
"""Of a density that are drawn below its peak, as on the page of a run."""

CLEAR = 3.0
"""Widths of the smoothing below zero from which an eigenvalue counts as negative: one
in 700 of those at zero is smoothed farther. Most eigenvalues of a network are nearly
zero, and half of these would count otherwise."""

MOST_LAYERS = 8
"""Spectra in one figure: more would be too flat to read."""


def convexity(drawable: Drawable) -> Figure:
    """Where the loss is convex: |λ_min|/λ_max over a slice.

    As in H. Li et al., "Visualizing the loss landscape of neural nets" (2018), fig. 7:
    0 where all curvature is upwards, 1 where it is as sharp downwards as upwards.

    Args:
        drawable: a field of kind "convexity" over two directions.

    Raises:
        ValueError: it is none.
    """
    seen = land(drawable, kinds=("convexity",))
    if not len(seen.betas):
        raise ValueError("a map over one direction came; expected two")
    with style.styled():
        made = style.figure(5.6, 4.7)
        axes = made.add_subplot()
        if np.isnan(seen.heights).any():
            style.missing_ground(axes)
        top = max(float(np.nanmax(seen.heights)), 0.1)
        image = axes.pcolormesh(
            seen.alphas, seen.betas, np.ma.masked_invalid(seen.heights.T),
            cmap=style.TERRAIN, vmin=0.0, vmax=top, shading="nearest",
        )  # fmt: skip
        bar = made.colorbar(image, ax=axes, shrink=0.9, pad=0.02, aspect=28)
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
        bar.set_label("|λmin| / λmax", fontsize=8.5)
        axes.set(xlabel=axis_label(seen.about, 0), ylabel=axis_label(seen.about, 1))
        axes.set_title(title(seen) if seen.about.get("title") else "Convexity")
        style.caption(made, "0: convex here. 1: as curved downwards as upwards.")
    return made


def spectrum(field: Field) -> Figure:
    """Where the eigenvalues of a curvature matrix lie, one panel a layer.

    Densities on a logarithmic axis, the largest eigenvalues as ticks on top, and the
    share of all eigenvalues that lies clearly below zero.

    Args:
        field: of kind "spectrum": axes "layer" and "eigenvalue", densities as values,
            `about["top"]` the largest eigenvalues: by layer, or as one list.

    Raises:
        ValueError: it is none, or has more than `MOST_LAYERS` layers.
    """
    if field.kind != "spectrum" or "eigenvalue" not in field.axes:
        raise ValueError(f'a field of kind "{field.kind}" came; expected "spectrum"')
    layers = [str(one) for one in field.axes.get("layer", ("run",))]
    if len(layers) > MOST_LAYERS:
        raise ValueError(
            f"{len(layers)} layers came, at most {MOST_LAYERS} fit one figure: give a "
            "field of some of them"
        )
    at = np.asarray(field.axes["eigenvalue"], dtype=np.float64)
    rows = np.asarray(field.values, dtype=np.float64).reshape(len(layers), -1)
    with style.styled():
        made = style.figure(6.4, 1.1 + 1.7 * len(layers))
        places: Any = made.subplots(len(layers), 1, sharex=True, squeeze=False)[:, 0]
        for axes, layer, density in zip(places, layers, rows, strict=True):
            _draw_density(axes, at, density, _top(field.about, layer))
            bound = -CLEAR * float(field.about.get("width") or 0.0)
            below = share_below(at, density, bound)
            axes.set_title(f"{layer}: {100 * below:.2g} % clearly below zero")
        places[-1].set_xlabel("eigenvalue")
        operator = str(field.about.get("operator") or "curvature")
        made.suptitle(
            f"Spectrum of the {operator}, step {field.step}",
            x=0.015, ha="left", fontweight="bold", fontsize=12,
        )  # fmt: skip
    return made


def _draw_density(
    axes: Any, at: Doubles, density: Doubles, top: Sequence[float]
) -> None:
    high = 10 ** np.ceil(np.log10(max(float(np.nanmax(density)), 1e-300)))
    low = high * 10.0**-DECADES
    drawn = np.clip(density, low, None)
    axes.fill_between(at, low, drawn, color=style.LINES[1], alpha=0.25, linewidth=0)
    axes.plot(at, drawn, color=style.LINES[1], linewidth=1.4)
    axes.axvline(0, color=style.FAINT, linewidth=0.8)
    for one in top:
        axes.plot(one, high, "v", color=style.LINES[0], markersize=6, clip_on=False)
    axes.set_yscale("log")
    axes.set(ylim=(low, high), ylabel="density")
    axes.spines[["top", "right"]].set_visible(False)


def _top(about: Mapping[str, Any], layer: str) -> Sequence[float]:
    top = about.get("top") or ()
    return top.get(layer, ()) if isinstance(top, Mapping) else top


def share_below(at: Doubles, density: Doubles, bound: float = 0.0) -> float:
    """Share of the area under a density that lies below a bound.

    >>> share_below(np.array([-1.0, 1.0]), np.array([1.0, 1.0]))
    0.5
    """
    fine = np.linspace(at[0], at[-1], 8001)
    filled = np.interp(fine, at, np.nan_to_num(density))
    area = (filled[1:] + filled[:-1]) / 2
    below = area[fine[1:] <= bound + 1e-12 * max(abs(at[0]), abs(at[-1]))].sum()
    return float(below / area.sum()) if area.sum() else 0.0
