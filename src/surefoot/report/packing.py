"""Panels and fields come in, JSON values as `web/src/data.ts` describes them go out.

Maps travel packed, 16 bits a cell, because numbers written out would be three times
as long; names are written once and shared between the maps beside them.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from surefoot.types import Field, Floats, Panel

# Codes of packed cells, as in web/src/grid.ts.
TOP = 65_000
ZERO, INFINITE, MISSING = 65_533, 65_534, 65_535

DIGITS = 5  # significant digits of a drawn number: far finer than a pixel
_LONGEST = 300  # characters of a name or a text: a page is read, not searched

Json = Any


class Names:
    """Layer names that maps share, so that each is written once."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    def index(self, name: str) -> int:
        """The number of a name; a new one gets the next."""
        return self.known.setdefault(name, len(self.known))

    def listed(self) -> list[str]:
        """All names in the order of their numbers."""
        return [shortened(name) for name in self.known]


# --- panels ---------------------------------------------------------------------


def packed(panel: Panel, names: Names) -> dict[str, Json]:
    """A panel as LinePanel or HeatPanel of the page; a map's names join `names`."""
    shared: dict[str, Json] = {
        "kind": panel.kind,
        "title": panel.title,
        "unit": panel.unit,
        "log": panel.log,
        "x": panel.x.tolist(),
        "width": panel.width,
        "marks": [jsonable(asdict(mark)) for mark in panel.marks],
    }
    if panel.kind == "line":
        return shared | _lines(panel)
    codes, span = _codes(panel.high, log=panel.log)
    return shared | {
        "y": [names.index(layer) for layer in panel.y],
        "range": span,
        "cells": base64.b64encode(codes.tobytes()).decode(),
    }


def _lines(panel: Panel) -> dict[str, Json]:
    same = np.array_equal(panel.low, panel.high, equal_nan=True)
    return {
        "y": [shortened(name) for name in panel.y],
        "low": [numbers(row) for row in panel.low],
        "high": None if same else [numbers(row) for row in panel.high],
    }


def numbers(values: npt.NDArray[Any]) -> list[float | None]:
    """Values `[n]` with five significant digits; None for what is not finite.

    >>> numbers(np.array([0.1234567, np.nan, 123456.0]))
    [0.12346, None, 123460.0]
    """
    wide = values.astype(np.float64)
    finite = np.isfinite(wide)
    sizes = np.where(finite & (wide != 0), np.abs(wide), 1.0)
    places = DIGITS - 1 - np.floor(np.log10(sizes)).astype(np.int64)
    shift = 10.0 ** np.abs(places)
    # By a whole power of ten in either direction: 0.1 is no binary fraction.
    up, down = np.rint(wide * shift) / shift, np.rint(wide / shift) * shift
    out: list[float | None] = np.where(places >= 0, up, down).tolist()
    for at in np.flatnonzero(~finite):
        out[at] = None
    return out


def _codes(values: Floats, *, log: bool) -> tuple[npt.NDArray[np.uint16], list[float]]:
    """Each cell as 16 bits, and the range (on the drawn scale) that 0 to TOP span."""
    shown = np.isfinite(values)
    if log:
        shown &= values > 0
    everything = bool(shown.all())  # the usual case, and several times quicker
    drawn = values if everything else values[shown]
    if not drawn.size:
        return _uncoded(values, log=log), [0.0, 1.0]
    scaled = np.log10(drawn) if log else drawn
    low, high = float(scaled.min()), float(scaled.max())
    steps = (scaled - np.float32(low)) * np.float32(TOP / ((high - low) or 1.0))
    coded = np.clip(np.rint(steps, out=steps), 0, TOP, out=steps).astype("<u2")
    if everything:
        return coded, [low, high]
    codes = _uncoded(values, log=log)
    codes[shown] = coded
    return codes, [low, high]


def _uncoded(values: Floats, *, log: bool) -> npt.NDArray[np.uint16]:
    """Codes of cells that have no place on the scale; MISSING in all others."""
    codes = np.full(values.shape, MISSING, "<u2")
    codes[np.isinf(values)] = INFINITE
    if log:
        codes[np.isfinite(values) & (values <= 0)] = ZERO
    return codes


# --- fields ---------------------------------------------------------------------


def packed_field(field: Field, *, layer: str | None = None) -> dict[str, Json] | None:
    """A field as FieldData; of one `layer` only, None if it has none of that name."""
    axes, values = dict(field.axes), field.values
    if layer is not None:
        layers = list(axes.pop("layer", ()))
        layer = in_full(layer, map(str, layers))
        if layer not in layers:
            return None
        values = values[layers.index(layer)]
    about = {name: _own(value, layer) for name, value in field.about.items()}
    return {
        "kind": field.kind,
        "step": field.step,
        "title": titled(field.kind, str(about.pop("title", ""))),
        "unit": shortened(str(about.pop("unit", ""))),
        "axes": [
            {"name": name, "ticks": [jsonable(tick) for tick in ticks]}
            for name, ticks in axes.items()
        ],
        "values": numbers(values.ravel()),
        "about": jsonable(about),
    }


def _own(value: Any, layer: str | None) -> Any:
    """What is told of one layer, where it is told of each."""
    named = layer is not None and isinstance(value, Mapping) and layer in value
    return value[layer] if named else value


def titled(kind: str, title: str) -> str:
    """What a field is called on the page: by its title, else by its kind.

    >>> titled("grad_histogram", "")
    'grad histogram'
    """
    return shortened(title or kind.replace("_", " "))


# --- JSON -----------------------------------------------------------------------


def shortened(text: str) -> str:
    """A text cut in its middle to 300 characters: names tell apart by their ends."""
    if len(text) <= _LONGEST:
        return text
    return f"{text[:100]} … {text[-(_LONGEST - 103) :]}"


def in_full(told: str, known: Iterable[str]) -> str:
    """The name that a page calls `told`, where that is a shortened one of `known`.

    >>> in_full("a.weight", ["a.weight"])
    'a.weight'
    """
    if len(told) < _LONGEST:
        return told
    return next((one for one in known if told in (one, shortened(one))), told)


def jsonable(value: object) -> Json:
    """JSON values only: NaN and infinities as words, long texts shortened."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        items = cast(Mapping[object, object], value).items()
        return {shortened(str(key)): jsonable(one) for key, one in items}
    if isinstance(value, list | tuple):
        return [jsonable(one) for one in cast(Sequence[object], value)]
    return shortened(str(value))
