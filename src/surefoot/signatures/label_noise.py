"""Label noise: a part of the examples keeps a large loss while the rest is learnt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from surefoot.signatures.statistics import Array, median_over_time
from surefoot.types import Event, Evidence, Facts, Finding, Series, Signature

QUANTILES = ("q25", "q50", "q75", "q90")
APART = 2.0
SPLIT = 1.5
READINGS = 8
SOURCE = (
    "losses of the examples of a batch: the largest gap between neighbouring "
    "quantiles against all others together; two groups give a large one, hard "
    "examples of one kind lie in between (Arazo et al. 2019, arXiv:1904.11238; "
    "benchmarks/zoo)"
)


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding if the upper group of losses stays to the end of the record."""
    rows = series["example_loss"]
    if rows.steps.size < READINGS or not set(QUANTILES) <= set(rows.layers):
        return []
    values = np.stack([rows.of(name) for name in QUANTILES], axis=1).astype(np.float64)
    third = len(values) // 3
    middle = median_over_time(values[third : 2 * third])
    last = median_over_time(values[-third:])
    gap, split = two_groups(last)
    before, _ = two_groups(middle)
    stays = gap > 0.8 * before
    if gap < APART or split < SPLIT or not stays:
        return []
    return [
        Finding(
            signature="label_noise",
            layer="run",
            onset=int(rows.steps[0]),
            severity="warning",
            evidence=(
                Evidence(
                    "gap between two groups of example losses", gap, APART, SOURCE
                ),
                Evidence("that gap over all others", split, SPLIT, SOURCE),
            ),
            layers=("run",),
            stream=facts.stream,
        )
    ]


def two_groups(quantiles: Array) -> tuple[float, float]:
    """The largest gap between neighbouring quantiles, and it over all others."""
    if not np.isfinite(quantiles).all():
        return 0.0, 0.0
    gaps = np.diff(quantiles)
    largest = float(gaps.max())
    rest = float(gaps.sum()) - largest
    return largest, largest / rest if rest > 0 else np.inf


SIGNATURE = Signature(
    name="label_noise",
    about="A part of the examples keeps a large loss while all others are learnt.",
    needs=("example_loss",),
    detect=detect,
)
