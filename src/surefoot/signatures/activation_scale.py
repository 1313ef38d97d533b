"""Activation scale: the signal grows or fades by decades on its way to the output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from surefoot.signatures import network
from surefoot.signatures.learning import learning
from surefoot.signatures.profile import columns, decades
from surefoot.signatures.statistics import Array, median_over_time
from surefoot.types import Event, Evidence, Facts, Finding, Series, Severity, Signature

BOUND = 100.0
SOURCE = (
    "largest over smallest deviation of weighted layers along the forward pass; a "
    "sound start keeps it near 1 (Glorot & Bengio 2010, He et al. 2015); 100 from "
    "benchmarks/calibrate_signatures.py"
)
READINGS = 3


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding if the first forward passes grow or fade with depth."""
    spread = series["activation_std"]
    kinds = network.kinds(facts)
    layers = tuple(
        module.name
        for module in facts.modules
        if module.name in spread.layers
        and any(word in kinds[module.name] for word in network.WEIGHTED)
    )
    if len(layers) < 3:
        return []
    early = median_over_time(columns(spread, layers)[:READINGS])
    if not np.isfinite(early).all():
        return []
    direction, factor = _trend(early)
    if factor < BOUND:
        return []
    severity: Severity = "critical" if learning(series, facts).trouble else "info"
    place = _place(early, direction)
    onset = int(spread.steps[0])
    name = f"activation_std from {layers[0]} to {layers[-1]}, first readings"
    return [
        Finding(
            signature="activation_scale",
            layer=layers[place],
            onset=onset,
            severity=severity,
            evidence=(Evidence(name, factor, BOUND, SOURCE),),
            layers=layers,
            stream=facts.stream,
            detail={"kind": direction, "factor": factor},
        )
    ]


def _trend(row: Array) -> tuple[Literal["grows", "fades"], float]:
    """Direction and size of the change from input to output."""
    depth = decades(row)
    rise = float(np.max(depth - np.minimum.accumulate(depth)))
    fall = float(np.max(np.maximum.accumulate(depth) - depth))
    if rise >= fall:
        return "grows", 10.0**rise
    return "fades", 10.0**fall


def _place(row: Array, direction: str) -> int:
    """The layer of the one big change, else the first."""
    change = np.diff(decades(row)) * (1 if direction == "grows" else -1)
    total = float(change[change > 0].sum())
    return int(np.argmax(change)) + 1 if change.max() > 0.5 * total else 0


SIGNATURE = Signature(
    name="activation_scale",
    about="The forward signal grows or fades by decades with depth.",
    needs=("activation_std",),
    detect=detect,
    uses=("loss",),
)
