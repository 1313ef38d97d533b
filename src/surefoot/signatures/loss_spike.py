"""Loss spikes: the loss jumps far out of its recent range, and falls back or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from surefoot.signatures.context import around
from surefoot.signatures.statistics import Array, episodes, level, trailing
from surefoot.types import Event, Evidence, Facts, Finding, Series, Severity, Signature

WINDOW = 50
SIGMAS = 6.0
SOURCE = (
    "6 robust deviations of the last 50 steps (OLMo-core's rule with median and MAD), "
    "and a quarter of the progress made so far (benchmarks/calibrate_signatures.py)"
)
SHARE = 0.25
RECOVERY_STEPS = 5
"""A spike that is over within this is harmless: allenai/OLMo discussion 560 declares
fast spikes benign, and so do our healthy runs."""
RECOVERED_SHARE = 0.1
GAP = 10
SHORTEST = 20


@dataclass(frozen=True, slots=True)
class Spike:
    """One spike: its first step, height over the level before, and how long it hurt.

    `lasted` counts steps until the loss was back, `back` says whether it came back
    before the end of the record.
    """

    first: int
    height: float
    level: float
    sigmas: float
    lasted: int
    back: bool

    @property
    def harmful(self) -> bool:
        """Whether it took more than a few steps to recover."""
        return self.lasted > RECOVERY_STEPS


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """The first spike that did harm and, as information, the highest of the rest."""
    loss = series["loss"]
    values = loss.values[:, 0].astype(np.float64)
    if values.size < SHORTEST:
        return []
    found = spikes(values)
    harmful = [spike for spike in found if spike.harmful]
    benign = [spike for spike in found if not spike.harmful]
    told: list[tuple[Spike, int]] = []
    if harmful:
        told.append((harmful[0], len(harmful)))
    if benign:
        told.append((max(benign, key=lambda spike: spike.height), len(benign)))
    return [_finding(spike, n, loss, series, facts) for spike, n in told]


def spikes(values: Array) -> list[Spike]:
    """All spikes of a loss, in order."""
    middle, spread = trailing(values, WINDOW)
    best = np.fmin.accumulate(middle)
    progress = np.maximum(level(values[:3]) - best, 0.0)
    clean = np.where(np.isfinite(values), values, -np.inf)
    above = clean - middle
    with np.errstate(invalid="ignore"):
        mask = (above > SIGMAS * spread) & (above > SHARE * progress)
    mask &= np.isfinite(middle) & (above > 0)
    return [
        _spike(values, middle, spread, progress, first)
        for first, _ in episodes(mask, GAP)
    ]


def _spike(
    values: Array, middle: Array, spread: Array, progress: Array, first: int
) -> Spike:
    """Measure the spike that begins at a position."""
    before, sigma = float(middle[first]), float(spread[first])
    bound = before + max(3 * sigma, RECOVERED_SHARE * float(progress[first]))
    after = values[first:]
    # back: the median of five steps is within the range of before
    rows = np.lib.stride_tricks.sliding_window_view(
        np.append(after, [after[-1]] * 4), 5
    )
    low = np.flatnonzero(np.median(rows, axis=1) <= bound)
    lasted = int(low[0]) if low.size else len(after)
    top = float(np.nanmax(np.where(np.isfinite(after), after, np.nan)[: lasted + 1]))
    height = top - before
    sigmas = height / sigma if sigma > 0 else np.inf
    return Spike(first, height, before, sigmas, lasted, bool(low.size))


def _finding(
    spike: Spike,
    count: int,
    loss: Series,
    series: Mapping[str, Series],
    facts: Facts,
) -> Finding:
    onset = int(loss.steps[spike.first])
    severity: Severity = "info"
    detail: dict[str, Any] = {
        "count": count,
        "lasted_steps": spike.lasted,
        "recovered": spike.back,
        "height": spike.height,
        **around(series, onset),
    }
    if spike.harmful and not detail["restart"]:
        severity = "warning"
    observed = spike.level + spike.height
    bound = spike.level + spike.height * SIGMAS / max(spike.sigmas, SIGMAS)
    name = f"loss, step {onset} (level before: {spike.level:.4g})"
    return Finding(
        signature="loss_spike",
        layer="run",
        onset=onset,
        severity=severity,
        evidence=(
            Evidence(name, observed, bound, SOURCE),
            Evidence(
                "steps until the loss was back",
                float(spike.lasted),
                float(RECOVERY_STEPS),
                "benchmarks/calibrate_signatures.py",
            ),
        ),
        layers=("run",),
        stream=facts.stream,
        detail=detail,
    )


SIGNATURE = Signature(
    name="loss_spike",
    about="The loss jumps far out of its recent range; harmless if it is back at once.",
    needs=("loss",),
    detect=detect,
    uses=("lr", "grad_norm", "input_absmax"),
)
