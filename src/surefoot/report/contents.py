"""A record, diagnoses and verdicts come in, the page's data goes out: JSON values.

The front end's `web/src/data.ts` describes the same values. Maps travel packed:
16 bits a cell, because numbers written out would be three times as long.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from surefoot.report.panels import (
    COLUMNS,
    MAPS,
    NOT_FINITE,
    Record,
    accused,
    detail,
    panels,
    readings,
)
from surefoot.types import Diagnosis, Event, Facts, Panel, Verdict

FORMAT = 1
"""Raised whenever a page of before could not read what is written now."""

# Codes of packed cells, as in web/src/grid.ts.
TOP = 65_000
ZERO, INFINITE, MISSING = 65_533, 65_534, 65_535

_LONGEST = 300  # characters of a name or a text: a page is read, not searched
_EVENTS = 2_000
_DIGITS = 5  # significant digits of a drawn number: far finer than a pixel

Json = Any


def contents(
    record: Record,
    diagnoses: Sequence[Diagnosis],
    verdicts: Sequence[Verdict] = (),
    *,
    columns: int = COLUMNS,
    maps: int = len(MAPS),
) -> dict[str, Json]:
    """Everything that the page shows of one run, as JSON values.

    Args:
        record: The run.
        diagnoses: Ranked, the likeliest cause first.
        verdicts: Of the remedies that were tried.
        columns: Most columns of a map.
        maps: How many maps of a stream are kept, the most telling first.
    """
    names = _Names()
    facts = record.facts()
    streams = [
        _stream(
            record,
            diagnoses,
            facts.get(name, Facts(stream=name)),
            _Cut(columns, maps, names),
        )
        for name in record.streams()
    ]
    events = record.events()
    return {
        "format": FORMAT,
        "run": _run(record, events),
        "looked_at": _looked_at(record),
        "names": [shortened(name) for name in names.known],
        "streams": [stream for stream, _ in streams],
        "diagnoses": [jsonable(asdict(one)) for one in diagnoses],
        "verdicts": [jsonable(asdict(one)) for one in verdicts],
        "events": [jsonable(asdict(one)) for one in events[:_EVENTS]],
        "left_out": _left_out(
            len(events), [record.damage, *(text for _, text in streams)]
        ),
    }


class _Names:
    """Layer names that maps share, so that each is written once."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    def index(self, name: str) -> int:
        return self.known.setdefault(name, len(self.known))


class _Cut:
    """How much of the maps is kept."""

    def __init__(self, columns: int, maps: int, names: _Names) -> None:
        self.columns, self.maps, self.names = columns, maps, names


def _run(record: Record, events: Sequence[Event]) -> dict[str, Json]:
    meta = record.meta
    last = [record.last_step(stream) for stream in record.streams()]
    errors = [one.body.get("error", "") for one in events if one.kind == "end"]
    versions = meta.get("versions")
    argv = meta.get("argv")
    return {
        "name": record.path.stem,
        "created": shortened(str(meta.get("created", ""))),
        "script": shortened(str(meta.get("script", ""))),
        "argv": jsonable(argv if isinstance(argv, list) else []),
        "status": record.status(),
        "error": shortened(str(errors[-1] or "")) if errors else "",
        "steps": max((step + 1 for step in last if step is not None), default=0),
        "versions": jsonable(versions if isinstance(versions, Mapping) else {}),
    }


def _looked_at(record: Record) -> list[str]:
    found = [name for stream in record.streams() for name in record.quantities(stream)]
    return list(dict.fromkeys(found))


def _stream(
    record: Record, diagnoses: Sequence[Diagnosis], facts: Facts, cut: _Cut
) -> tuple[dict[str, Json], str]:
    """One stream's data, and a sentence about what was left out ("" if nothing)."""
    own = [one for one in diagnoses if one.stream == facts.stream]
    found = panels(record, own, stream=facts.stream, columns=cut.columns)
    order = [one.name for one in MAPS if one.name in found]
    dropped = [found.pop(name).title.lower() for name in order[cut.maps :]]
    drawn = {name: packed(panel, cut.names) for name, panel in found.items()}
    body = {
        "name": facts.stream,
        "facts": _facts(facts),
        "panels": drawn,
        "details": _details(record, own, found, cut.names),
    }
    if not dropped:
        return body, ""
    return body, (
        f"To keep this page small it leaves out the maps of {', '.join(dropped)} "
        f"(stream {facts.stream}); the record holds them."
    )


def _left_out(events: int, texts: Sequence[str | None]) -> list[str]:
    """What the page cannot show and why, in sentences."""
    told = [shortened(text) for text in texts if text]
    if events > _EVENTS:
        told.append(f"The first {_EVENTS} of {events} events are listed.")
    return told


def _facts(facts: Facts) -> dict[str, Json]:
    return {
        "model": shortened(facts.model),
        "optimizer": shortened(facts.optimizer),
        "options": jsonable(facts.options),
        "parameters": sum(one.size for one in facts.parameters),
        "trainable": sum(one.size for one in facts.parameters if one.trainable),
        "tensors": len(facts.parameters),
        "modules": [jsonable(asdict(one)) for one in facts.modules[:500]],
        "unseen": jsonable(facts.unseen),
    }


def _details(
    record: Record,
    diagnoses: Sequence[Diagnosis],
    found: Mapping[str, Panel],
    names: _Names,
) -> list[dict[str, Json]]:
    """The accused layers' own lines, where the map's bins hold several readings."""
    out: list[dict[str, Json]] = []
    for picture in MAPS:
        panel = found.get(picture.name)
        if panel is None:
            continue
        series = readings(record, picture, diagnoses[0].stream) if diagnoses else None
        if series is None or len(series.steps) <= len(panel.x):
            continue
        out.extend(
            {
                "quantity": picture.name,
                "layer": names.index(layer),
                "panel": packed(detail(picture, series, layer), names),
            }
            for layer in accused(diagnoses, panel.y)[:3]
        )
    return out


# --- panels ---------------------------------------------------------------------


def packed(panel: Panel, names: _Names) -> dict[str, Json]:
    """A panel in the form of `web/src/data.ts`."""
    shared = {
        "kind": panel.kind,
        "title": panel.title,
        "unit": panel.unit,
        "log": panel.log,
        "x": list(panel.x),
        "marks": [jsonable(asdict(mark)) for mark in panel.marks],
    }
    if panel.kind == "line":
        return shared | _lines(panel)
    codes, span = _codes(panel)
    return shared | {
        "y": [names.index(layer) for layer in panel.y],
        "range": span,
        "cells": [base64.b64encode(row.tobytes()).decode() for row in codes],
    }


def _lines(panel: Panel) -> dict[str, Json]:
    low = [
        [None if pair is None else _rounded(pair[0]) for pair in row] for row in panel.z
    ]
    high = [
        [None if pair is None else _rounded(pair[1]) for pair in row] for row in panel.z
    ]
    return {
        "y": [shortened(name) for name in panel.y],
        "low": low,
        "high": None if low == high else high,
    }


def _codes(panel: Panel) -> tuple[npt.NDArray[np.uint16], list[float]]:
    """Each cell as 16 bits, and the range (on the drawn scale) that 0 to TOP span."""
    values = np.array(
        [[_cell(one) for one in row] for row in panel.z], np.float64
    ).reshape(len(panel.y), len(panel.x))
    codes = np.full(values.shape, MISSING, "<u2")
    codes[np.isinf(values)] = INFINITE
    shown = np.isfinite(values)
    if panel.log:
        codes[shown & (values <= 0)] = ZERO
        shown &= values > 0
    scaled = np.log10(values[shown]) if panel.log else values[shown]
    if not scaled.size:
        return codes, [0.0, 1.0]
    low, high = float(scaled.min()), float(scaled.max())
    codes[shown] = np.rint((scaled - low) / ((high - low) or 1.0) * TOP)
    return codes, [low, high]


def _cell(value: float | str | None) -> float:
    if value is None:
        return math.nan
    return math.inf if value == NOT_FINITE else cast(float, value)


def _rounded(value: float) -> float | int:
    """Fewer digits, and no ".0" to carry."""
    short = float(f"{value:.{_DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 1e6 else short


# --- JSON -----------------------------------------------------------------------


def shortened(text: str) -> str:
    """A text cut in its middle to 300 characters: names tell apart by their ends."""
    if len(text) <= _LONGEST:
        return text
    return f"{text[:100]} … {text[-(_LONGEST - 103) :]}"


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
