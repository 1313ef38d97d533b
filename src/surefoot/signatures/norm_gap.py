"""Norm gap: batch statistics and the running ones used in evaluation differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from surefoot.signatures.profile import columns
from surefoot.signatures.statistics import median_over_time
from surefoot.types import Event, Evidence, Facts, Finding, Module, Series, Signature

BOUND = 1.0
READINGS = 5
BOUND_YOUNG = 0.3
STALE = 0.2
FEWEST = 100
"""Bound where a fifth and more of the running statistics is still that of the first
step, after this many steps: then any difference is theirs."""
SOURCE = (
    "difference of the means in running deviations, largest over channels: that of a "
    "batch of 32 is noise below 0.5, and healthy runs stay below 0.4 (Wu & Johnson "
    "2021, arXiv:2105.07576; benchmarks/zoo)"
)
SOURCE_STILL = (
    "running = (1 - momentum) * running + momentum * batch: at zero evaluation uses "
    "the statistics of an untrained network (documentation of torch.nn.BatchNorm1d)"
)


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding for the layers whose statistics differ to the end."""
    still = _stand_still(series, facts)
    if still:
        return still
    rows = series.get("norm_gap")
    if rows is None or rows.steps.size < READINGS:
        return []
    order = tuple(m.name for m in facts.modules if m.name in rows.layers)
    layers = order or rows.layers
    values = columns(rows, layers)
    last = median_over_time(values[-max(READINGS, len(values) // 3) :])
    left = _initial_share(series, facts)
    bound = BOUND_YOUNG if left > STALE else BOUND
    high = np.flatnonzero(last > bound)
    if high.size == 0:
        return []
    layer = layers[int(high[0])]
    name = f"norm_gap of {layer}, last third"
    return [
        Finding(
            signature="norm_gap",
            layer=layer,
            onset=int(rows.steps[0]),
            severity="warning",
            evidence=(Evidence(name, float(last[high[0]]), bound, SOURCE),),
            layers=tuple(layers[i] for i in high),
            stream=facts.stream,
        )
    ]


def _initial_share(series: Mapping[str, Series], facts: Facts) -> float:
    """What is left of the first running statistics: (1 - momentum) to the steps."""
    known = [m.settings.get("momentum", 0.1) for m in facts.modules if _tracks(m)]
    steps = series["norm_gap"].steps[-1]
    if not known or steps < FEWEST:
        return 0.0
    return float((1 - min(known)) ** steps)


def _tracks(module: Module) -> bool:
    return module.settings.get("track") == 1 and "BatchNorm" in module.kind


def _stand_still(series: Mapping[str, Series], facts: Facts) -> list[Finding]:
    """Running statistics that no batch can move: their momentum is zero."""
    layers = tuple(
        m.name for m in facts.modules if _tracks(m) and m.settings.get("momentum") == 0
    )
    share = series.get("training_share")
    if not layers or share is None or not (share.values > 0).any():
        return []
    name = f"momentum of the running statistics of {layers[0]}"
    return [
        Finding(
            signature="norm_gap",
            layer=layers[0],
            onset=int(share.steps[0]),
            severity="warning",
            evidence=(Evidence(name, 0.0, 0.0, SOURCE_STILL),),
            layers=layers,
            stream=facts.stream,
        )
    ]


SIGNATURE = Signature(
    name="norm_gap",
    about="Running statistics of a normalisation are not those of the batches.",
    needs=(),
    detect=detect,
    uses=("norm_gap", "training_share"),
)
