"""A record comes in, pictures as data go out: few points that keep every spike.

Lines carry the smallest and the largest reading of each bin of steps, maps the
largest; a reading that is not finite is never drawn as a number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from surefoot.record.rollup import rollup
from surefoot.types import Diagnosis, Event, Facts, Floats, Mark, Panel, Series

POINTS = 2_000
"""Most points of a line: more than a wide screen has columns."""

COLUMNS = 800
"""Most columns of a map: about one for each CSS pixel of its width."""

NOT_FINITE = "not finite"
"""Stands in a map where the largest reading of a bin is infinite."""

_STRETCHES = 20  # marks on one panel: more would cover the line they belong to


class Record(Protocol):
    """What a report reads: a `RecordReader`, or anything that answers the same."""

    @property
    def path(self) -> Path: ...  # noqa: D102

    @property
    def meta(self) -> Mapping[str, Any]: ...  # noqa: D102

    @property
    def damage(self) -> str | None: ...  # noqa: D102

    def status(self) -> str: ...  # noqa: D102

    def streams(self) -> Sequence[str]: ...  # noqa: D102

    def quantities(self, stream: str = "main") -> Sequence[str]: ...  # noqa: D102

    def series(self, quantity: str, stream: str = "main") -> Series: ...  # noqa: D102

    def facts(self) -> Mapping[str, Facts]: ...  # noqa: D102

    def events(self) -> Sequence[Event]: ...  # noqa: D102

    def last_step(self, stream: str = "main") -> int | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Picture:
    """How one panel is made: `needs` are the quantities without which there is none.

    What was recorded is multiplied by `scale` to give `unit`.
    """

    name: str
    title: str
    needs: tuple[str, ...]
    log: bool = False
    unit: str = ""
    scale: float = 1.0


MAPS: tuple[Picture, ...] = (
    Picture("grad_norm", "Gradient norm", ("grad_norm",), log=True),
    Picture("update_ratio", "Update ratio", ("update_norm", "weight_norm"), log=True),
    Picture("dead_share", "Dead share", ("dead_share",)),
    Picture("saturated_share", "Saturated share", ("saturated_share",)),
    Picture("activation_std", "Output spread", ("activation_std",), log=True),
    Picture("second_moment_ratio", "g²/v", ("second_moment_ratio",), log=True),
    Picture("weight_norm", "Weight norm", ("weight_norm",), log=True),
    Picture("zero_share", "Zero share", ("zero_share",)),
)
"""Maps of layer by step, the most telling first."""

LINES: tuple[Picture, ...] = (
    Picture("loss", "Loss", ("loss",)),
    Picture("metric", "Logged metrics", ("metric",)),
    Picture("lr", "Learning rate", ("lr",)),
    Picture("step_seconds", "Step time", ("step_seconds",), unit="ms", scale=1e3),
)
"""Lines over steps, in the order of the page."""


def panels(
    record: Record,
    diagnoses: Sequence[Diagnosis] = (),
    *,
    stream: str = "main",
    columns: int = COLUMNS,
) -> dict[str, Panel]:
    """All panels of one stream by name; only those whose quantities were recorded.

    Args:
        record: The run, a `RecordReader` or the like.
        diagnoses: Their layers and onsets are marked.
        stream: Which optimizer's readings.
        columns: Most columns of a map.

    Returns:
        `"loss"`, `"metric"`, `"lr"`, `"step_seconds"` (lines) and `"grad_norm"`,
        `"update_ratio"`, … (maps); see `LINES` and `MAPS`.
    """
    there = set(record.quantities(stream))
    own = [one for one in diagnoses if one.stream == stream]
    found: dict[str, Panel] = {}
    for picture in (*LINES, *MAPS):
        if not there.issuperset(picture.needs):
            continue
        series = readings(record, picture, stream)
        if not len(series.steps):
            continue
        if picture in LINES:
            found[picture.name] = line(picture, series, own)
        else:
            found[picture.name] = heatmap(picture, series, own, columns=columns)
    return found


def readings(record: Record, picture: Picture, stream: str) -> Series:
    """The series that a picture shows, computed where two quantities make it up."""
    series = record.series(picture.needs[0], stream)
    if picture.scale != 1:
        return replace(series, values=series.values * np.float32(picture.scale))
    if len(picture.needs) == 1:
        return series
    return ratio(picture.name, series, record.series(picture.needs[1], stream))


def ratio(quantity: str, above: Series, below: Series) -> Series:
    """`above / below` on the steps and layers that both have, as one series.

    A layer whose denominator is 0 has no ratio: NaN.
    """
    steps, top_rows, bottom_rows = np.intersect1d(
        above.steps, below.steps, assume_unique=True, return_indices=True
    )
    layers = tuple(layer for layer in above.layers if layer in set(below.layers))
    top = above.values[top_rows][:, _columns(above, layers)]
    bottom = below.values[bottom_rows][:, _columns(below, layers)]
    values = np.full(top.shape, np.nan, np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        np.divide(top, bottom, out=values, where=bottom != 0)
    return Series(quantity, layers, steps, values, above.stream)


def line(
    picture: Picture, series: Series, diagnoses: Sequence[Diagnosis] = ()
) -> Panel:
    """A line for each layer: `[low, high]` of each bin, None where nothing is finite.

    The scale is logarithmic where all readings are positive and the largest is more
    than 50 times the median, so that a spike does not flatten the rest.
    """
    rolled = rollup(series.values, series.steps, POINTS)
    low, high = _finite(rolled.low), _finite(rolled.high)
    marks = [*_not_finite(series), *_found(diagnoses, picture)]
    return Panel(
        kind="line",
        title=picture.title,
        x=rolled.steps.tolist(),
        y=series.layers,
        z=[
            [_pair(a, b) for a, b in zip(low[:, at], high[:, at], strict=True)]
            for at in range(len(series.layers))
        ],
        unit=picture.unit,
        marks=tuple(sorted(marks, key=lambda mark: mark.step or 0)),
        log=picture.log or _wide(series.values),
    )


def heatmap(
    picture: Picture,
    series: Series,
    diagnoses: Sequence[Diagnosis] = (),
    *,
    columns: int = COLUMNS,
) -> Panel:
    """Layer by step: the largest reading of each bin, `NOT_FINITE`, or None."""
    rolled = rollup(series.values, series.steps, columns)
    cells = _infinite_as_text(rolled.high)
    return Panel(
        kind="heatmap",
        title=picture.title,
        x=rolled.steps.tolist(),
        y=series.layers,
        z=cells,
        unit=picture.unit,
        marks=tuple(
            Mark(_spaced(one.cause), step=one.onset, layer=one.layer)
            for one in diagnoses
        ),
        log=picture.log,
    )


def detail(picture: Picture, series: Series, layer: str) -> Panel:
    """One layer of a map as a line, with the lows that a map's bins leave out.

    Raises:
        KeyError: the layer was not recorded.
    """
    values = series.of(layer)[:, None]
    own = Series(series.quantity, (layer,), series.steps, values, series.stream)
    return replace(line(picture, own), log=picture.log, marks=())


def accused(diagnoses: Iterable[Diagnosis], layers: Sequence[str]) -> tuple[str, ...]:
    """Those of `layers` that a diagnosis names, each once, in the diagnoses' order."""
    named_layers = dict.fromkeys(one.layer for one in diagnoses)
    return tuple(layer for layer in named_layers if layer in set(layers))


# --- parts ----------------------------------------------------------------------


def _columns(series: Series, layers: Sequence[str]) -> list[int]:
    at = {layer: index for index, layer in enumerate(series.layers)}
    return [at[layer] for layer in layers]


def _finite(values: Floats) -> Floats:
    return np.where(np.isfinite(values), values, np.nan)


def _pair(low: np.float32, high: np.float32) -> list[float] | None:
    return None if np.isnan(low) else [float(low), float(high)]


def _infinite_as_text(values: Floats) -> list[list[float | str | None]]:
    def cell(value: float) -> float | str | None:
        if value != value:
            return None
        return NOT_FINITE if value in (np.inf, -np.inf) else value

    return [list(map(cell, row)) for row in values.T.tolist()]


def _wide(values: Floats) -> bool:
    finite = values[np.isfinite(values)]
    if not finite.size or finite.min() <= 0:
        return False
    return bool(finite.max() > 50 * np.median(finite))


def _not_finite(series: Series) -> list[Mark]:
    """The first steps of the stretches in which no layer's reading is finite."""
    broken = ~np.isfinite(series.values).any(axis=1)
    starts = np.flatnonzero(np.diff(broken, prepend=False) & broken)
    ends = np.flatnonzero(np.diff(broken, append=False) & broken)
    return [
        Mark(_stretch(int(end - start) + 1), step=int(series.steps[start]))
        for start, end in zip(starts[:_STRETCHES], ends[:_STRETCHES], strict=True)
    ]


def _stretch(length: int) -> str:
    return NOT_FINITE if length == 1 else f"{NOT_FINITE}, {length} readings"


def _found(diagnoses: Sequence[Diagnosis], picture: Picture) -> list[Mark]:
    """Findings about the whole run: they are marked on the loss."""
    if picture.name != "loss":
        return []
    steps: dict[int, str] = {}
    for one in diagnoses:
        for finding in one.findings:
            if finding.layer == "run":
                steps.setdefault(finding.onset, _spaced(finding.signature))
    return [Mark(label, step=step) for step, label in list(steps.items())[:_STRETCHES]]


def _spaced(name: str) -> str:
    return name.replace("_", " ")
