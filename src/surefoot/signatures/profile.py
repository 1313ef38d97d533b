"""Profiles over depth: series come in, relative sizes per weight matrix go out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from surefoot.signatures import network
from surefoot.signatures.statistics import Array, median_over_time, since
from surefoot.types import Facts, Series, Steps

Rows = npt.NDArray[np.intp]

TINY = 1e-45
"""Below the smallest positive float32: stands for zero in logarithms."""

SHARE_READINGS = 2
"""Readings at the end that must agree: one odd batch does not count."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A size per weight matrix over time, layers from input to output.

    `steps` has shape `[n]`, `values` `[n, len(layers)]`; NaN where not read.
    """

    layers: tuple[str, ...]
    steps: Steps
    values: Array

    def level(self, first: int, last: int) -> Array:
        """Median over the steps `first` <= step < `last`, shape `[len(layers)]`."""
        inside = (self.steps >= first) & (self.steps < last)
        return median_over_time(self.values[inside])


def columns(series: Series, layers: tuple[str, ...], rows: Rows | None = None) -> Array:
    """Values of some layers, at some rows or all, `[n, len(layers)]`, float64."""
    place = {name: i for i, name in enumerate(series.layers)}
    values = series.values if rows is None else series.values[rows]
    return values[:, [place[name] for name in layers]].astype(np.float64)


def relative(
    series: Mapping[str, Series], facts: Facts, quantity: str
) -> Profile | None:
    """`quantity` over the size of the weights, on the steps that have both.

    None where fewer than one weight matrix was recorded.
    """
    top, bottom = series.get(quantity), series.get("weight_norm")
    if top is None or bottom is None:
        return None
    known = set(top.layers) & set(bottom.layers)
    layers = tuple(name for name in network.weights(facts) if name in known)
    steps, at_top, at_bottom = np.intersect1d(
        top.steps, bottom.steps, assume_unique=True, return_indices=True
    )
    if not layers or steps.size == 0:
        return None
    size = columns(bottom, layers, at_bottom)
    part = columns(top, layers, at_top)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.where(size > 0, part / size, np.nan)
    return Profile(layers, steps, np.where(np.isinf(values), np.nan, values))


def decades(values: Array) -> Array:
    """log10, with zero at -45 and NaN kept."""
    return np.log10(np.maximum(values, TINY))


def lasting_shares(values: Array, bound: float) -> tuple[int, int, list[int]] | None:
    """Which columns end above a bound: `(first reading, its column, all columns)`.

    A column counts if its last two readings are above; its first reading is the one
    from which it stays there. None where there is none.
    """
    if values.shape[0] < SHARE_READINGS:
        return None
    high = np.isfinite(values) & (values >= bound)
    places = [int(i) for i in np.flatnonzero(high[-SHARE_READINGS:].all(axis=0))]
    if not places:
        return None
    begin, place = min((since(high[:, i]) or 0, i) for i in places)
    return begin, place, places


def travelled(profile: Profile) -> Array:
    """Sum of the update ratios over all steps, read ones standing for those between.

    The weights cannot have moved further than this times their size.
    """
    gaps = np.diff(profile.steps, append=profile.steps[-1] + 1).astype(np.float64)
    return np.nansum(profile.values * gaps[:, None], axis=0)


def path(series: Mapping[str, Series], facts: Facts) -> float:
    """Path of the layer that moved most, over its size; 0 where it was not recorded."""
    profile = relative(series, facts, "update_norm")
    return 0.0 if profile is None else float(travelled(profile).max())
