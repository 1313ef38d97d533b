"""Accumulating gradients: they are never set to zero, each step adds to the last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from surefoot.signatures import network
from surefoot.signatures.heads import is_agent
from surefoot.signatures.profile import columns
from surefoot.signatures.statistics import (
    TO_SIGMA,
    Array,
    finite,
    level,
    median_over_time,
    root_sum_square,
    scale_about_zero,
)
from surefoot.types import Event, Evidence, Facts, Finding, Series, Signature

SMOOTH = 0.04
GROWTH = 0.3
NOISIER = 3.0
SOURCE = (
    "the norm of a sum over all steps changes by less than 0.04 decades a step while "
    "the loss of the batches is noisy, and grows by 0.3 decades in ten steps; healthy "
    "mini-batch runs change by 0.05 and more (benchmarks/zoo)"
)
ALIGNED = 0.9
GREW = 2.5
CLIPPED = 1e-3
"""Growth of a sum over the first 20 to 60 steps; what clipping leaves of changes."""
ROUGH = 0.006
READINGS = 6
SOURCE_ALIGNED = (
    "cosine of consecutive gradients, tenth percentile of the readings: a sum hardly "
    "turns, while the gradients of batches whose losses differ do (healthy mini-batch "
    "runs stay below 0.5: benchmarks/zoo)"
)
SHORTEST = 40
LONGEST = 400
"""Steps that are looked at: what is wired wrong is wrong from the first step."""


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding if the gradient is far smoother than the loss it comes from."""
    turned = [] if is_agent(events) else _by_direction(series, facts)
    return turned or _by_size(series, facts)


def _by_direction(series: Mapping[str, Series], facts: Facts) -> list[Finding]:
    """The gradient does not turn although the loss is noisy; clipping hides nothing.

    Adversaries pull each other one way for long.
    """
    rows, loss = series.get("grad_cosine"), series["loss"]
    if rows is None or facts.stream != "main":
        return []
    layers = tuple(name for name in network.weights(facts) if name in rows.layers)
    if rows.steps.size < READINGS or not layers:
        return []
    usual = finite(median_over_time(columns(rows, layers)[1:].T))
    if usual.size < READINGS - 1:
        return []
    low = float(np.quantile(usual, 0.1))
    noisy = _bends(loss.values[:LONGEST, 0].astype(np.float64))
    summed = _sums_up(root_sum_square(series["grad_norm"].values))
    if low < ALIGNED or noisy < ROUGH or not summed:
        return []
    name = "grad_cosine, median over weights, tenth percentile"
    evidence = Evidence(name, low, ALIGNED, SOURCE_ALIGNED)
    return [_finding((evidence,), int(rows.steps[0]) - 1, rows.layers, noisy, facts)]


def _by_size(series: Mapping[str, Series], facts: Facts) -> list[Finding]:
    """The norms change hardly from step to step, and grew at first."""
    grads, loss = series["grad_norm"], series["loss"]
    if grads.steps.size < SHORTEST or loss.steps.size < SHORTEST:
        return []
    norms = grads.values[:LONGEST].astype(np.float64)
    norms = np.where(np.isfinite(norms) & (norms > 0), norms, np.nan)
    logs = np.log10(norms)
    steps = np.abs(np.diff(logs, axis=0))
    rough = TO_SIGMA * level(median_over_time(steps))
    growth = level(logs[9] - logs[0])
    if rough > SMOOTH or growth < GROWTH:
        return []
    noisy = _roughness(loss.values[:LONGEST, 0].astype(np.float64))
    if noisy < NOISIER * rough:
        return []
    name = "change of log10 grad_norm from step to step, median over layers"
    rise = "growth of log10 grad_norm over the first ten steps"
    evidence = (
        Evidence(name, rough, SMOOTH, SOURCE),
        Evidence(rise, growth, GROWTH, SOURCE),
    )
    return [_finding(evidence, int(grads.steps[0]), grads.layers, noisy, facts)]


def _finding(
    evidence: tuple[Evidence, ...],
    onset: int,
    layers: tuple[str, ...],
    noisy: float,
    facts: Facts,
) -> Finding:
    return Finding(
        signature="accumulating_gradients",
        layer="run",
        onset=onset,
        severity="warning",
        evidence=evidence,
        layers=layers,
        stream=facts.stream,
        detail={"loss_roughness": noisy},
    )


def _sums_up(total: Array) -> bool:
    """Whether the gradient grew at first, or is clipped to one size at every step."""
    usual = level(total[20:60])
    same = scale_about_zero(total[20:] - usual) < CLIPPED * usual
    return bool(same or usual > GREW * total[0])


def _bends(values: Array) -> float:
    """Noise of the loss from step to step, blind to its trend, in decades.

    From second differences of the logarithm, whose deviation is √6 that of the noise.
    """
    values = values[np.isfinite(values) & (values > 0)]
    if values.size < READINGS:
        return 0.0
    return scale_about_zero(np.diff(np.log10(values), 2)) / np.sqrt(6.0)


def _roughness(values: Array) -> float:
    """Typical change of the loss from step to step in decades of its level."""
    values = values[np.isfinite(values)]
    size = level(np.abs(values))
    if size == 0.0:
        return 0.0
    return scale_about_zero(np.diff(values)) / size / np.log(10.0)


SIGNATURE = Signature(
    name="accumulating_gradients",
    about="Gradients are never set to zero: every step adds to those before.",
    needs=("grad_norm", "loss"),
    detect=detect,
    uses=("grad_cosine",),
)
