"""Label noise: a part of the examples keeps a large loss while the rest is learnt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from surefoot.signatures.metrics import held_out
from surefoot.signatures.statistics import Array, finite, level, median_over_time
from surefoot.types import Event, Evidence, Facts, Finding, Series, Signature

QUANTILES = ("q25", "q50", "q75", "q90")
APART = 2.0
SPLIT = 1.5
READINGS = 8
ROWS = 16
"""Rows of a batch that its quantiles need."""
GAP = 0.12
DROPOUT = 0.25
FEWEST = 3
SOURCE_GAP = (
    "held-out accuracy less that of training batches, and 4 standard errors: without "
    "dropout it is near zero or below, unless training labels are wrong (Arpit et al. "
    "2017, arXiv:1706.05394; benchmarks/zoo)"
)
SOURCE = (
    "losses of the examples of a batch: the largest gap between neighbouring "
    "quantiles against all others together; two groups give a large one, hard "
    "examples of one kind lie in between (Arazo et al. 2019, arXiv:1904.11238; "
    "benchmarks/zoo)"
)


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding if training examples stay wrong that other data do not have."""
    return _by_accuracy(series, facts) or _by_groups(series, facts)


def _by_accuracy(series: Mapping[str, Series], facts: Facts) -> list[Finding]:
    """The network is right far more often on held-out data than in training.

    Dropout does that too, and so does noise that is added to the inputs on purpose:
    they leave no group of examples that is wrong with confidence.
    """
    names = held_out(series.get("metric"), "accuracy")
    right = series.get("accuracy")
    dropped = max((m.settings.get("p", 0.0) for m in facts.modules), default=0.0)
    if not names or right is None or right.steps.size == 0 or dropped > DROPOUT:
        return []
    metric = series["metric"]
    half = int(right.steps[-1]) // 2
    held = finite(metric.of(names[0])[metric.steps >= half])
    late = finite(right.values[right.steps >= half])
    if min(held.size, late.size) < FEWEST:
        return []
    share = float(late.mean())
    gap = float(held.mean()) - share
    count = late.size * batch_rows(series)
    bound = max(GAP, 4 * float(np.sqrt(max(share * (1 - share), 0.01) / count)))
    if gap < bound or not _loss_agrees(series, half):
        return []
    name = f"{names[0]} - accuracy in training, last readings"
    evidence = (Evidence(name, gap, bound, SOURCE_GAP),)
    return [_finding(evidence, int(right.steps[0]), facts)]


def batch_rows(series: Mapping[str, Series]) -> float:
    """Usual number of rows in a batch; 32 where it was not recorded."""
    size = series.get("batch_size")
    return level(size.values, 32.0) if size is not None else 32.0


def _loss_agrees(series: Mapping[str, Series], since: int) -> bool:
    """Whether the training loss, too, lies above the held-out one where it is known."""
    names, loss = held_out(series.get("metric"), "loss"), series.get("loss")
    if not names or loss is None:
        return True
    metric = series["metric"]
    held = finite(metric.of(names[0])[metric.steps >= since])
    return held.size == 0 or level(loss.values[loss.steps >= since]) > held.mean()


def _by_groups(series: Mapping[str, Series], facts: Facts) -> list[Finding]:
    """The upper group of losses stays to the end of the record."""
    rows = series.get("example_loss")
    if (
        rows is None
        or rows.steps.size < READINGS
        or not set(QUANTILES) <= set(rows.layers)
    ):
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
    evidence = (
        Evidence("gap between two groups of example losses", gap, APART, SOURCE),
        Evidence("that gap over all others", split, SPLIT, SOURCE),
    )
    return [_finding(evidence, int(rows.steps[0]), facts)]


def _finding(evidence: tuple[Evidence, ...], onset: int, facts: Facts) -> Finding:
    return Finding(
        signature="label_noise",
        layer="run",
        onset=onset,
        severity="warning",
        evidence=evidence,
        layers=("run",),
        stream=facts.stream,
    )


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
    needs=(),
    detect=detect,
    uses=("example_loss", "accuracy", "metric"),
)
