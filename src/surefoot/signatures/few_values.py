"""Too few values: batch normalisation over a batch that is hardly one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from surefoot.signatures.statistics import level, median_over_time
from surefoot.types import Event, Evidence, Facts, Finding, Series, Signature

BOUND = 0.5
NOISY = 0.3
"""Gap to the running statistics from which few rows show in pictures, too."""
READINGS = 5
LOUD = 0.8
"""Three rows or four are too few for an alarm, nine for a remark."""
SOURCE = (
    "relative error of a variance from n values, the root of 2 / (n - 1) (Wu & He "
    "2018, arXiv:1803.08494)"
)


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding if batches of a handful of rows are normalised by their statistics.

    Images give each channel more values than rows, so there it is information.
    """
    rows = level(series["batch_size"].values)
    norms = [m for m in facts.modules if m.kind.startswith("BatchNorm")]
    if not norms or rows < 1:
        return []
    error = math.sqrt(2 / (rows - 1)) if rows > 1 else math.inf
    if error < BOUND:
        return []
    flat = [m.name for m in norms if m.kind == "BatchNorm1d"]
    layer = (flat or [norms[0].name])[0]
    loud = error > LOUD and (bool(flat) or _gap(series) > NOISY)
    return [
        Finding(
            signature="few_values",
            layer=layer,
            onset=int(series["batch_size"].steps[0]),
            severity="warning" if loud else "info",
            evidence=(
                Evidence(
                    f"error of a variance from {rows:.0f} rows", error, BOUND, SOURCE
                ),
            ),
            layers=tuple(m.name for m in norms),
            stream=facts.stream,
        )
    ]


def _gap(series: Mapping[str, Series]) -> float:
    """Largest norm_gap over layers, median over the second half of the readings."""
    rows = series.get("norm_gap")
    if rows is None or rows.steps.size < READINGS:
        return 0.0
    late = median_over_time(rows.values[rows.steps.size // 2 :].astype(np.float64))
    return float(np.nan_to_num(late).max(initial=0.0))


SIGNATURE = Signature(
    name="few_values",
    about="Batch normalisation takes its statistics from one or two rows.",
    needs=("batch_size",),
    detect=detect,
    uses=("norm_gap",),
)
