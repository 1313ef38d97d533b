"""Too few values: batch normalisation over a batch that is hardly one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from surefoot.signatures.statistics import level
from surefoot.types import Event, Evidence, Facts, Finding, Series, Signature

BOUND = 0.5
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
    return [
        Finding(
            signature="few_values",
            layer=layer,
            onset=int(series["batch_size"].steps[0]),
            severity="warning" if flat and error > LOUD else "info",
            evidence=(
                Evidence(
                    f"error of a variance from {rows:.0f} rows", error, BOUND, SOURCE
                ),
            ),
            layers=tuple(m.name for m in norms),
            stream=facts.stream,
        )
    ]


SIGNATURE = Signature(
    name="few_values",
    about="Batch normalisation takes its statistics from one or two rows.",
    needs=("batch_size",),
    detect=detect,
)
