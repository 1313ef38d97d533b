"""Gradient noise: gradients of consecutive batches have nothing in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from surefoot.signatures import network
from surefoot.signatures.label_noise import batch_rows
from surefoot.signatures.profile import columns, relative
from surefoot.signatures.statistics import level, median_over_time
from surefoot.types import Event, Evidence, Facts, Finding, Series, Severity, Signature

BOUND = 0.1
READINGS = 10
ROWS = 4
"""Batches that are larger may be noisy by nature, as those of a noisy regression."""
LONG = 0.008
"""Update over weight from which noise carries the weights away: healthy runs with
noisy gradients stay below 0.006, or win all the same (benchmarks/zoo)."""
SOURCE = (
    "cosine of the gradients of consecutive batches, median over weights and readings: "
    "its expectation is the share of signal in their power (McCandlish et al. 2018, "
    "arXiv:1812.06162; benchmarks/zoo)"
)


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding if the gradient was noise from the start, and moves the weights."""
    rows = series["grad_cosine"]
    layers = tuple(name for name in network.weights(facts) if name in rows.layers)
    if rows.steps.size < READINGS or not layers:
        return []
    values = median_over_time(columns(rows, layers).T)  # over layers, [n]
    observed = level(values, 1.0)
    if abs(observed) > BOUND:
        return []
    if batch_rows(series) > ROWS:
        return []
    carried = _update_ratio(series, facts) > LONG
    severity: Severity = "warning" if carried else "info"
    name = "grad_cosine, median over weights and readings"
    return [
        Finding(
            signature="gradient_noise",
            layer="run",
            onset=int(rows.steps[0]),
            severity=severity,
            evidence=(Evidence(name, observed, BOUND, SOURCE),),
            layers=("run",),
            stream=facts.stream,
        )
    ]


def _update_ratio(series: Mapping[str, Series], facts: Facts) -> float:
    """Median update over weight in the second half; 0 where it was not recorded."""
    profile = relative(series, facts, "update_norm")
    if profile is None:
        return 0.0
    return level(profile.values[profile.values.shape[0] // 2 :])


SIGNATURE = Signature(
    name="gradient_noise",
    about="Gradients of consecutive batches have nothing in common.",
    needs=("grad_cosine",),
    detect=detect,
    uses=("update_norm", "weight_norm"),
)
