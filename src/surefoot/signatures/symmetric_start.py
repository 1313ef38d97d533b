"""Symmetric start: all units of a hidden layer begin with the same weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from surefoot.signatures import network
from surefoot.signatures.profile import columns
from surefoot.signatures.statistics import Mask
from surefoot.types import Event, Evidence, Facts, Finding, Series, Signature

BOUND = 1e-5
SOURCE = (
    "units that start alike get the same gradient and stay alike (Goodfellow et al. "
    "2016, section 8.4); drawn weights differ by about their own size, float32 rounds "
    "at 1e-7"
)


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding for all hidden weights whose units are copies of one another."""
    spread = series["unit_spread"]
    order = [name for name in network.weights(facts) if name in spread.layers]
    hidden = tuple(order[:-1])  # an output layer may start alike: its targets differ
    if not hidden or spread.steps.size == 0:
        return []
    row = columns(spread, hidden)[0]
    at_zero = _zero(series, hidden)  # a symptom of its own, and sound in a branch
    alike = [hidden[i] for i in np.flatnonzero((row < BOUND) & ~at_zero)]
    if not alike:
        return []
    layer = alike[0]
    observed = float(row[hidden.index(layer)])
    name = f"unit_spread of {layer}, before the first update"
    return [
        Finding(
            signature="symmetric_start",
            layer=layer,
            onset=int(spread.steps[0]),
            severity="warning",
            evidence=(Evidence(name, observed, BOUND, SOURCE),),
            layers=tuple(alike),
            stream=facts.stream,
        )
    ]


def _zero(series: Mapping[str, Series], layers: tuple[str, ...]) -> Mask:
    """Which weights are all zero before the first update."""
    sizes = series.get("weight_norm")
    if sizes is None or sizes.steps.size == 0:
        return np.zeros(len(layers), dtype=bool)
    known = dict(zip(sizes.layers, sizes.values[0], strict=True))
    return np.asarray([known.get(name, 1.0) == 0 for name in layers])


SIGNATURE = Signature(
    name="symmetric_start",
    about="All units of a hidden layer start with the same weights and stay alike.",
    needs=("unit_spread",),
    detect=detect,
    uses=("weight_norm",),
)
