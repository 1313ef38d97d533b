"""A record comes in; where fields are, and those that a page carries, go out as JSON.

A step has one histogram and one spectrum; it may have several slices of the loss, which
their titles tell apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from surefoot.report.packing import Json, packed_field, shortened, titled
from surefoot.report.panels import Record, accused
from surefoot.types import Diagnosis

SLICES = ("landscape", "convexity")
"""Kinds of which one step may have several, told apart by their titles."""

_HISTOGRAM_STEPS = 16  # of each accused layer that a report carries
_SPECTRA = 12
_SLICES = 6  # of the loss, each 15 kB at 41 x 41 points


def field_offers(record: Record, stream: str, *, whole: bool) -> list[dict[str, Json]]:
    """Where fields were recorded: FieldOffer of the page, one a kind.

    With `whole` only the slices that `carried_fields` gives are offered.
    """
    offers: dict[str, dict[str, Json]] = {}
    for kind, own, step, layers in record.field_index():
        if own != stream:
            continue
        offer = offers.setdefault(kind, _offer(kind))
        offer["steps"].append(step)
        known = set(offer["layers"])
        offer["layers"] += [one for one in map(shortened, layers) if one not in known]
    for kind in SLICES:
        if kind in offers:
            there = _slices(record, kind, stream, _SLICES if whole else None)
            offers[kind]["steps"] = [step for step, _ in there]
            offers[kind]["titles"] = [titled(kind, title) for _, title in there]
    return list(offers.values())


def _offer(kind: str) -> dict[str, Json]:
    return {
        "kind": kind,
        "title": kind.replace("_", " "),
        "steps": [],
        "layers": [],
        "titles": [],
    }


def _slices(
    record: Record, kind: str, stream: str, most: int | None
) -> list[tuple[int, str]]:
    """Step and title of the slices of a kind, by step; the last `most` of them."""
    there = sorted(record.field_titles(kind, stream), key=lambda one: one[0])
    return there if most is None else there[-most:]


def carried_fields(
    record: Record, own: Sequence[Diagnosis], stream: str
) -> list[dict[str, Json]]:
    """The fields that a report carries: histograms of accused layers only."""
    steps: dict[str, list[int]] = {}
    for kind, name, step, _ in record.field_index():
        if name == stream:
            steps.setdefault(kind, []).append(step)
    out: list[dict[str, Json] | None] = []
    for kind, recorded in steps.items():
        if kind in SLICES:
            out += _carried_slices(record, kind, stream)
            continue
        most = _SPECTRA if kind == "spectrum" else _HISTOGRAM_STEPS
        for step in _spread(recorded, most):
            field = record.field(kind, stream, step=step)
            if field is None:
                continue
            if kind == "spectrum":
                out.append(packed_field(field))
            else:
                there = [str(one) for one in field.axes.get("layer", ())]
                out += [_of_layer(field, layer) for layer in accused(own, there)[:3]]
    return [one for one in out if one is not None]


def _carried_slices(
    record: Record, kind: str, stream: str
) -> list[dict[str, Json] | None]:
    found = [
        record.field(kind, stream, step=step, title=title)
        for step, title in _slices(record, kind, stream, _SLICES)
    ]
    return [packed_field(one) for one in found if one is not None]


def _of_layer(field: Any, layer: str) -> dict[str, Json] | None:
    """One layer of a field, and whose it is."""
    shown = packed_field(field, layer=layer)
    if shown is not None:
        shown["about"]["layer"] = shortened(layer)
    return shown


def _spread(steps: Sequence[int], most: int) -> list[int]:
    """At most `most` of the steps, evenly spread, the last among them."""
    if len(steps) <= most:
        return list(steps)
    at = np.linspace(len(steps) - 1, 0, most).round().astype(int)
    return [steps[one] for one in sorted(set(at.tolist()))]
