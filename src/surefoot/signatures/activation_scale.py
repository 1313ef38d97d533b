"""Activation scale: the signal grows or fades by decades on its way to the output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from surefoot.signatures import network
from surefoot.signatures.learning import learning
from surefoot.signatures.profile import columns, decades
from surefoot.signatures.statistics import Array
from surefoot.types import Event, Evidence, Facts, Finding, Series, Severity, Signature

BOUND = 100.0
BOUND_LATE = 30.0
"""Where the run started late, or its first loss was high: sound late starters stay
below 18."""
PATIENCE = 30
LATE = 0.05
"""Steps, and share of the run, at a guess from which it has started late."""
SOURCE = (
    "largest over smallest deviation along the first forward pass, the input "
    "included; a sound start keeps it near 1 (Glorot & Bengio 2010, He et al. 2015), "
    "healthy runs below 20 (benchmarks/zoo)"
)


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding if the first forward pass grows or fades with depth."""
    if series["activation_std"].steps.size == 0:
        return []
    layers, early = _forward(series, facts)
    if early.size < 3:
        return []
    direction, factor = _trend(early)
    course = learning(series, facts)
    late = direction == "fades" and course.waited > max(PATIENCE, LATE * course.steps)
    high = direction == "grows" and course.high_start and facts.stream == "main"
    bound = BOUND_LATE if late or high else BOUND
    if factor < bound:
        return []
    # two signals: the signal grows, and the first loss shows it
    severity: Severity = "warning" if high or late else "info"
    place = _place(early, direction)
    if layers[place] == "input":
        place += 1
    spread = series["activation_std"]
    name = f"activation_std from {layers[0]} to {layers[-1]}, first reading"
    return [
        Finding(
            signature="activation_scale",
            layer=layers[place],
            onset=int(spread.steps[0]),
            severity="critical" if course.trouble else severity,
            evidence=(Evidence(name, factor, bound, SOURCE),),
            layers=layers,
            stream=facts.stream,
            detail={"kind": direction, "factor": factor},
        )
    ]


def _forward(
    series: Mapping[str, Series], facts: Facts
) -> tuple[tuple[str, ...], Array]:
    """Names and deviations along the forward pass: the input, then weighted layers.

    Layers that put out nothing but a constant are left out: a branch may start at
    zero on purpose.
    """
    spread = series["activation_std"]
    owners = {network.owner(facts, name) for name in network.weights(facts)}
    layers = tuple(
        module.name
        for module in facts.modules
        if module.name in spread.layers
        and (
            module.name in owners
            or any(word in module.kind for word in network.WEIGHTED)
        )
    )
    early = columns(spread, layers)[0]
    before = _input(series, facts)
    if before is not None:
        layers = ("input", *layers)
        early = np.concatenate([[before], early])
    keep = np.isfinite(early) & (early > 0)
    return tuple(n for n, k in zip(layers, keep, strict=True) if k), early[keep]


def _input(series: Mapping[str, Series], facts: Facts) -> float | None:
    """Deviation of what goes in; of tokens, that of their embedding, 1 at least."""
    size, spread = series.get("input_std"), series["activation_std"]
    if size is not None and size.steps.size:
        return float(size.values[0, 0])
    tables = [m.name for m in facts.modules if "Embedding" in m.kind]
    known = [name for name in tables if name in spread.layers]
    return max(1.0, float(spread.of(known[0])[0])) if known else None


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
