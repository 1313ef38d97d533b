"""Replicas: copies of one network that started alike and no longer hold the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np

from surefoot.signatures.profile import columns
from surefoot.signatures.statistics import Array
from surefoot.signatures.streams import Stream
from surefoot.types import Evidence, Finding, Series, Steps

ABOUT = "Copies of one network began with the same weights and have drifted apart."
SAME = 1e-5
APART = 1e-3
SOURCE = (
    "relative difference of the norms of one weight in two copies at one step; float32 "
    "sums differ by 1e-6 between ranks, copies that train alone by their updates"
)


def detect(streams: Sequence[Stream]) -> list[Finding]:
    """One finding for each pair of copies that came apart.

    Twins that are drawn separately, as two critics are, differ from the start.
    """
    found: list[Finding] = []
    for one, other in combinations(streams, 2):
        names = _bare(p.name for p in one.facts.parameters)
        if not names or names != _bare(p.name for p in other.facts.parameters):
            continue
        pair = one.series.get("weight_norm"), other.series.get("weight_norm")
        if pair[0] is not None and pair[1] is not None:
            found += _apart(one, other, pair[0], pair[1])
    return found


def _bare(names: Iterable[str]) -> tuple[str, ...]:
    """Names without the name of the model, which all of one stream share."""
    told = tuple(names)
    models = {name.partition(".")[0] for name in told}
    if len(models) > 1:
        return told
    return tuple(name.partition(".")[2] for name in told)


def _apart(one: Stream, other: Stream, a: Series, b: Series) -> list[Finding]:
    layers = b.layers
    if _bare(a.layers) != _bare(layers):
        return []
    steps, difference = _differences(a, b)
    if steps.size < 2 or np.nanmax(difference[0], initial=0.0) > SAME:
        return []
    differ = difference > APART
    if not differ[-1].any():
        return []
    place = int(np.flatnonzero(differ.any(axis=1))[0])
    order = np.argsort(-np.nan_to_num(difference[place]))
    named = tuple(layers[i] for i in order if differ[place, i])
    streams = f"{one.facts.stream} and {other.facts.stream}"
    name = f"weight_norm of {named[0]}, {streams}, step {int(steps[place])}"
    observed = float(difference[place].max())
    return [
        Finding(
            signature="replicas",
            layer=_bare(layers)[layers.index(named[0])],
            onset=int(steps[max(0, place - 1)]) + 1,
            severity="critical",
            evidence=(Evidence(name, observed, APART, SOURCE),),
            layers=named,
            stream=other.facts.stream,
        )
    ]


def _differences(a: Series, b: Series) -> tuple[Steps, Array]:
    """Steps that both have, and relative differences there, `[n, layers]`."""
    steps, at_a, at_b = np.intersect1d(
        a.steps, b.steps, assume_unique=True, return_indices=True
    )
    first = columns(a, a.layers, at_a)
    second = columns(b, b.layers, at_b)
    size = np.maximum(np.maximum(first, second), 1e-12)
    return steps, np.abs(first - second) / size
