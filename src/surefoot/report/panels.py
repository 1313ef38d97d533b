"""A record comes in, pictures as data go out: few points that keep every spike.

Lines carry the smallest and the largest reading of each bin of steps, maps the one
farthest from zero; a reading that is not finite is never drawn as a number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from surefoot.diagnosis.in_use import Reads
from surefoot.record.rollup import Overview, Rollup
from surefoot.report.pictures import Picture, named, offered
from surefoot.types import Diagnosis, Event, Field, Floats, Mark, Panel

POINTS = 2_000
"""Most points of a line: more than a wide screen has columns."""

COLUMNS = 800
"""Most columns of a map: about one for each CSS pixel of its width."""

NOT_FINITE = "not finite"
"""Label where no layer's reading is finite."""

_STRETCHES = 20  # marks on one panel: more would cover the line they belong to


class Record(Reads, Protocol):
    """What a report reads: a `RecordReader`, or anything that answers the same."""

    @property
    def path(self) -> Path: ...  # noqa: D102

    @property
    def meta(self) -> Mapping[str, Any]: ...  # noqa: D102

    @property
    def damage(self) -> str | None: ...  # noqa: D102

    def status(self) -> str: ...  # noqa: D102

    def streams(self) -> Sequence[str]: ...  # noqa: D102

    def events(self) -> Sequence[Event]: ...  # noqa: D102

    def last_step(self, stream: str = "main") -> int | None: ...  # noqa: D102

    def field_index(self) -> Sequence[Any]: ...  # noqa: D102

    def field_titles(  # noqa: D102
        self, kind: str, stream: str = "main"
    ) -> Sequence[tuple[int, str]]: ...

    def field(  # noqa: D102
        self,
        kind: str,
        stream: str = "main",
        *,
        step: int | None = None,
        title: str | None = None,
    ) -> Field | None: ...

    def overview(  # noqa: D102
        self,
        quantity: str,
        stream: str = "main",
        *,
        points: int,
        start: int | None = None,
        stop: int | None = None,
        width: int | None = None,
        layers: Sequence[str] | None = None,
    ) -> Overview: ...


@dataclass(frozen=True, slots=True)
class Query:
    """Which panel of a record is wanted, and how finely.

    Steps from `start` up to, not including, `stop`; at most `points` bins (None: as
    many as suit the panel), or bins of exactly `width` steps. With `layer` the line
    of that layer of a map.
    """

    name: str
    stream: str = "main"
    start: int | None = None
    stop: int | None = None
    points: int | None = None
    width: int | None = None
    layer: str | None = None


def panels(
    record: Record,
    diagnoses: Sequence[Diagnosis] = (),
    *,
    stream: str = "main",
    columns: int = COLUMNS,
) -> dict[str, Panel]:
    """The panels that a page shows unasked, of one stream, by name.

    Only those whose quantities were recorded: lines (`"loss"`, `"lr"`, …) and maps
    (`"grad_norm"`, `"update_ratio"`, …), see `report.pictures`.

    Args:
        record: The run, a `RecordReader` or the like.
        diagnoses: Their layers and onsets are marked.
        stream: Which optimizer's readings.
        columns: Most columns of a map.
    """
    found: dict[str, Panel] = {}
    for picture in offered(record.quantities(stream)):
        if picture.first:
            points = POINTS if picture.kind == "line" else columns
            made = panel(record, Query(picture.name, stream, points=points), diagnoses)
            if made is not None:
                found[picture.name] = made
    return found


def panel(
    record: Record, query: Query, diagnoses: Sequence[Diagnosis] = ()
) -> Panel | None:
    """One panel; None where nothing was recorded for it in that range.

    Raises:
        KeyError: there is no such panel, or no such layer in it.
    """
    picture = named(query.name)
    if not set(picture.needs).issubset(record.quantities(query.stream)):
        return None
    own = [one for one in diagnoses if one.stream == query.stream]
    seen = overview(record, picture, query)
    if query.layer is not None and query.layer not in seen.layers:
        raise KeyError(
            f"{query.name} has no layer {query.layer[:300]!r} in stream "
            f"{query.stream!r}; expected one of those on its map"
        )
    if not len(seen.rollup.steps):
        return None
    if picture.kind == "heatmap" and query.layer is None:
        return heatmap(picture, seen, own)
    drawn = line(picture, seen, own if query.layer is None else ())
    if query.layer is not None:
        return replace(drawn, log=picture.log, marks=())
    return replace(drawn, marks=_exact(record, picture, query, drawn))


def overview(record: Record, picture: Picture, query: Query) -> Overview:
    """What a picture shows, in bins; a quotient where two quantities make it up."""
    usual = COLUMNS if picture.kind == "heatmap" and not query.layer else POINTS
    asked: dict[str, Any] = {
        "points": query.points or usual,
        "start": query.start,
        "stop": query.stop,
        "layers": None if query.layer is None or picture.share else (query.layer,),
    }
    first = record.overview(picture.needs[0], query.stream, width=query.width, **asked)
    if picture.scale != 1:
        scale = np.float32(picture.scale)
        rolled = first.rollup
        rolled = replace(rolled, low=rolled.low * scale, high=rolled.high * scale)
        return replace(first, rollup=rolled)
    if picture.share:
        return shares(first, query.layer)
    if len(picture.needs) == 1:
        return first
    width = query.width or first.rollup.width
    second = record.overview(picture.needs[1], query.stream, width=width, **asked)
    return quotient(picture.name, first, second)


def shares(seen: Overview, layer: str | None = None) -> Overview:
    """Each reading over the sum of all layers' sizes in its bin, its sign kept.

    The size of a layer in a bin is its reading farthest from zero. A bin without
    readings, or with one that is not finite, has no shares: NaN.
    """
    rolled = seen.rollup
    sizes = np.fmax(np.abs(rolled.low), np.abs(rolled.high)).astype(np.float64)
    total = np.nansum(sizes, axis=1, keepdims=True)
    known = np.isfinite(total) & (total > 0)
    kept = [at for at, name in enumerate(seen.layers) if layer in (None, name)]

    def part(values: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            made = np.where(known, values[:, kept] / total, np.nan)
        return made.astype(np.float32)

    broken = rolled.broken[:, kept]
    made = replace(rolled, low=part(rolled.low), high=part(rolled.high), broken=broken)
    return replace(seen, layers=tuple(seen.layers[at] for at in kept), rollup=made)


def quotient(quantity: str, above: Overview, below: Overview) -> Overview:
    """`above / below` on the bins and layers that both have, of sizes, not signs.

    Where bins hold one reading each it is exact; else the bounds are those that
    follow from both: lowest over highest, highest over lowest. A denominator of 0
    has no quotient: NaN.
    """
    top, bottom = above.rollup, below.rollup
    width = max(top.width, bottom.width)
    _, rows, others = np.intersect1d(
        top.steps // width, bottom.steps // width, return_indices=True
    )
    layers = tuple(one for one in above.layers if one in set(below.layers))
    left, right = _columns(above, layers), _columns(below, layers)

    def part(values: npt.NDArray[Any], at: Any, columns: list[int]) -> Any:
        return values[at][:, columns]

    low = _divided(part(top.low, rows, left), part(bottom.high, others, right))
    high = _divided(part(top.high, rows, left), part(bottom.low, others, right))
    broken = part(top.broken, rows, left) | part(bottom.broken, others, right)
    made = Rollup(top.steps[rows], low, high, broken, width)
    return Overview(quantity, above.stream, layers, made)


def line(
    picture: Picture, seen: Overview, diagnoses: Sequence[Diagnosis] = ()
) -> Panel:
    """A line for each layer: lowest and highest of each bin, NaN if none is finite.

    The scale is logarithmic where all readings are positive and the largest is more
    than 50 times the median, so that a spike does not flatten the rest.
    """
    rolled = seen.rollup
    low, high = _finite(rolled.low), _finite(rolled.high)
    low, high = np.where(np.isnan(low), high, low), np.where(np.isnan(high), low, high)
    marks = [*_not_finite(rolled), *_found(diagnoses, picture)]
    return Panel(
        kind="line",
        title=picture.title,
        x=rolled.steps,
        y=seen.layers,
        low=low.T,
        high=high.T,
        width=rolled.width,
        unit=picture.unit,
        marks=tuple(sorted(marks, key=lambda mark: mark.step or 0)),
        log=picture.log or _wide(low, high),
    )


def heatmap(
    picture: Picture, seen: Overview, diagnoses: Sequence[Diagnosis] = ()
) -> Panel:
    """Layer by step: of each bin the reading farthest from zero."""
    rolled = seen.rollup
    signed = bool(np.any(rolled.low < 0))
    if signed:
        farthest = np.where(-rolled.low > rolled.high, rolled.low, rolled.high).T
    else:
        farthest = rolled.high.T
    return Panel(
        kind="heatmap",
        title=picture.title,
        x=rolled.steps,
        y=seen.layers,
        low=farthest,
        high=farthest,
        width=rolled.width,
        unit=picture.unit,
        marks=tuple(
            Mark(_spaced(one.cause), step=one.onset, layer=one.layer)
            for one in diagnoses
        ),
        log=picture.log,
    )


def accused(diagnoses: Iterable[Diagnosis], layers: Sequence[str]) -> tuple[str, ...]:
    """Those of `layers` that a diagnosis names, each once, in the diagnoses' order."""
    named_layers = dict.fromkeys(one.layer for one in diagnoses)
    return tuple(layer for layer in named_layers if layer in set(layers))


# --- parts ----------------------------------------------------------------------


def _divided(top: Floats, bottom: Floats) -> Floats:
    values = np.full(top.shape, np.nan, np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        np.divide(top, bottom, out=values, where=bottom != 0)
    return values


def _columns(seen: Overview, layers: Sequence[str]) -> list[int]:
    at = {layer: index for index, layer in enumerate(seen.layers)}
    return [at[layer] for layer in layers]


def _finite(values: Floats) -> Floats:
    return np.where(np.isfinite(values), values, np.float32(np.nan))


def _wide(low: Floats, high: Floats) -> bool:
    if not np.isfinite(high).any() or np.nanmin(low) <= 0:
        return False
    return float(np.nanmax(high)) > 50 * float(np.nanmedian(high))


def _not_finite(rolled: Rollup) -> list[Mark]:
    """Where a stretch of bins begins with a reading that is not finite.

    Of a line alone any such reading counts; of several lines, which need not have
    readings at the same steps, only bins in which none has a finite one. In bins of
    one step the length of a stretch is known, and told.
    """
    alone = rolled.low.shape[1] == 1
    nothing = ~np.isfinite(rolled.low) & ~np.isfinite(rolled.high)
    broken = (rolled.broken if alone else nothing).all(axis=1)
    starts = np.flatnonzero(np.diff(broken, prepend=False) & broken)[:_STRETCHES]
    ends = np.flatnonzero(np.diff(broken, append=False) & broken)[:_STRETCHES]
    return [
        Mark(
            _stretch(int(end - start) + 1 if rolled.width == 1 else 1),
            step=int(rolled.steps[start]),
        )
        for start, end in zip(starts, ends, strict=True)
    ]


def _stretch(length: int) -> str:
    return NOT_FINITE if length == 1 else f"{NOT_FINITE}, {length} readings"


def _exact(
    record: Record, picture: Picture, query: Query, drawn: Panel
) -> tuple[Mark, ...]:
    """The marks, each "not finite" one at its own step and not at that of its bin."""
    if drawn.width == 1:
        return drawn.marks

    def moved(mark: Mark) -> Mark:
        if mark.label != NOT_FINITE or mark.step is None:
            return mark
        end = (mark.step // drawn.width + 1) * drawn.width
        near = Query(query.name, query.stream, mark.step, end, width=1)
        found = _not_finite(overview(record, picture, near).rollup)
        return found[0] if found else mark

    return tuple(moved(mark) for mark in drawn.marks)


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
