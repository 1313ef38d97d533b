"""Stale second moment: Adam's v no longer fits the gradient, updates are too long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from surefoot.signatures import network
from surefoot.signatures.learning import learning
from surefoot.signatures.memory import second_beta, staleness
from surefoot.signatures.profile import columns
from surefoot.signatures.statistics import Array, median_over_time
from surefoot.types import Event, Evidence, Facts, Finding, Series, Severity, Signature

BOUND = 5.0
OUTGROWN = 6.0
SOURCE = (
    "RMS of g²/v is 1 where v fits (Molybog et al. 2023, arXiv:2304.09871; Wortsman et "
    "al. 2023, arXiv:2304.13013); 5 from benchmarks/zoo"
)
SOURCE_NORMS = (
    "norm over the root of its moving average with the optimizer's own β₂, in two "
    "tensors for three steps on end: updates are too long by this factor. none of 290 "
    "healthy runs on which it was chosen passed 4.6 (benchmarks/zoo)"
)
TENSORS = 2
IN_A_ROW = 3
SHORTEST = 40
CLOSELY = 2_000_000
BLOCK = 10
MEMORY = 3.0
MOST_STRETCHES = 20
"""Norms that are looked at one by one; of longer runs, blocks that stand out."""


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding for the tensors whose second moment was stale."""
    return _by_norms(series, facts) or _by_moment(series, facts)


def _by_norms(series: Mapping[str, Series], facts: Facts) -> list[Finding]:
    """Gradients of several tensors outgrew their memory for steps on end.

    Seen at every step and before the loss knows of it, so it is an alarm by itself;
    not for adversaries, whose gradients come and go with each other's success.
    """
    grads = series.get("grad_norm")
    if grads is None or "betas.1" not in facts.options or facts.stream != "main":
        return []
    layers = tuple(name for name in network.weights(facts) if name in grads.layers)
    if len(layers) < TENSORS or grads.steps.size < SHORTEST:
        return []
    beta = second_beta(facts)
    for first, last in _stretches(columns(grads, layers), beta):
        ratio = staleness(columns(grads, layers, np.arange(first, last)), beta)
        ratio[: max(0, SHORTEST - first)] = 1.0
        place = _outgrown(ratio)
        if place is not None:
            return [_finding_by_norms(grads, layers, ratio, first, place, facts)]
    return []


def _stretches(norms: Array, beta: float) -> list[tuple[int, int]]:
    """Rows to look at closely: all of a short run, parts of a long one.

    In a long one, blocks of ten steps whose mean power is far above the average
    before them, each with the memory that it needs.
    """
    if norms.size <= CLOSELY:
        return [(0, len(norms))]
    count = len(norms) // BLOCK
    clean = np.where(np.isfinite(norms[: count * BLOCK]), norms[: count * BLOCK], 0.0)
    power = np.square(clean).reshape(count, BLOCK, -1).mean(axis=1)
    ratio = staleness(np.sqrt(power), beta**BLOCK)
    high = np.sort(ratio, axis=1)[:, -TENSORS] > OUTGROWN / 2
    memory = int(min(MEMORY / max(1 - beta, 1e-6), CLOSELY / norms.shape[1]))
    places = [int(i) * BLOCK for i in np.flatnonzero(high)[:MOST_STRETCHES]]
    return [
        (max(0, place - memory), min(len(norms), place + 3 * BLOCK)) for place in places
    ]


def _outgrown(ratio: Array) -> int | None:
    """First row from which two tensors are stale for three steps on end."""
    if len(ratio) < IN_A_ROW:
        return None
    second = np.sort(np.nan_to_num(ratio), axis=1)[:, -TENSORS] > OUTGROWN
    run = np.logical_and.reduce(
        [second[k : len(second) - IN_A_ROW + 1 + k] for k in range(IN_A_ROW)]
    )
    return int(np.flatnonzero(run)[0]) if run.any() else None


def _finding_by_norms(
    grads: Series,
    layers: tuple[str, ...],
    ratio: Array,
    first: int,
    place: int,
    facts: Facts,
) -> Finding:
    row = np.nan_to_num(ratio[place])
    order = np.argsort(-row)
    named = tuple(layers[i] for i in order if row[i] > OUTGROWN)
    onset = int(grads.steps[first + place])
    name = f"grad_norm of {named[0]} over its moving average, step {onset}"
    return Finding(
        signature="stale_second_moment",
        layer=named[0],
        onset=onset,
        severity="warning",
        evidence=(Evidence(name, float(row.max()), OUTGROWN, SOURCE_NORMS),),
        layers=named,
        stream=facts.stream,
        detail={"kind": "outgrown"},
    )


def _by_moment(series: Mapping[str, Series], facts: Facts) -> list[Finding]:
    """The second moment itself, as it was read every few steps."""
    rows = series.get("second_moment_ratio")
    if rows is None or rows.steps.size < 4:
        return []
    values = rows.values.astype(np.float64)
    usual = median_over_time(values)
    with np.errstate(invalid="ignore"):
        high = (values > BOUND) & (values > BOUND * usual[None, :])
    if not high.any():
        return []
    begin = int(np.flatnonzero(high.any(axis=1))[0])
    onset = int(rows.steps[begin])
    order = np.argsort(-np.nan_to_num(values[begin]))
    layers = tuple(rows.layers[i] for i in order if high[begin, i])
    course = learning(series, facts)
    harmful = course.trouble and course.onset <= onset + 50
    severity: Severity = "warning" if harmful else "info"
    name = f"second_moment_ratio of {layers[0]}, step {onset}"
    observed = float(values[begin].max())
    return [
        Finding(
            signature="stale_second_moment",
            layer=layers[0],
            onset=onset,
            severity=severity,
            evidence=(Evidence(name, observed, BOUND, SOURCE),),
            layers=layers,
            stream=facts.stream,
        )
    ]


SIGNATURE = Signature(
    name="stale_second_moment",
    about="Adam's second moment is too small for the gradient, so updates are long.",
    needs=(),
    detect=detect,
    uses=("grad_norm", "second_moment_ratio", "loss"),
)
