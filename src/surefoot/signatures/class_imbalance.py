"""Class imbalance: rare classes are not learnt, because common ones drown them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from surefoot.signatures.label_noise import batch_rows
from surefoot.signatures.metrics import held_out
from surefoot.signatures.statistics import Array, finite, level
from surefoot.types import Event, Evidence, Facts, Finding, Floats, Series, Signature

RARE = 0.2
FEWEST = 5.0
SURE = 12.0
"""Rare examples that are enough, and from which half the recall is bad enough: none
of five at a recall of 0.85 happens once in 13,000 times."""
RECALL = 0.5
COMMON_RECALL = 0.85
"""Common classes must be learnt: in a text, rare characters are hard by nature."""
SKIPPED = 4
SOURCE = (
    "share of its examples that is recognised, rare classes against common ones in "
    "the same batches after the first quarter (He & Garcia 2009; benchmarks/zoo)"
)
ALL_BUT = 0.8
APART = 0.2
SOURCE_ONE = (
    "a class that is four fifths of the targets, in a network whose held-out accuracy "
    "is a fifth below that in training (He & Garcia 2009; benchmarks/zoo)"
)


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding if rare classes are recognised half as often as common ones."""
    shares, right = series["target_share"], series["target_right"]
    steps, at_shares, at_right = np.intersect1d(
        shares.steps, right.steps, assume_unique=True, return_indices=True
    )
    if steps.size < 6 or shares.layers != right.layers:
        return []
    whole = _shares(shares.values[at_shares])
    half = steps.size // SKIPPED
    share = whole.mean(axis=0)
    rare = (share > 0) & (share < RARE / share.size) | (
        (share > 0) & (share < RARE * share.max())
    )
    common = share >= 0.5 * share.max()
    rows = batch_rows(series)
    seen = whole[half:].sum(axis=0) * rows
    known = _shares(right.values[at_right][half:])
    hits = known.sum(axis=0) * rows
    if share.max() > ALL_BUT and _worse_on_others(series):
        what = f"largest share of a class ({shares.layers[int(share.argmax())]})"
        evidence = Evidence(what, float(share.max()), ALL_BUT, SOURCE_ONE)
        return [_finding(evidence, int(steps[0]), share, facts)]
    if not rare.any() or seen[rare].sum() < FEWEST:
        return []
    low, high = _recall(hits, seen, rare), _recall(hits, seen, common)
    bound = RECALL if seen[rare].sum() >= SURE else 0.25 * RECALL
    if high < COMMON_RECALL or low > bound * high:
        return []
    names = tuple(f"class {shares.layers[i]}" for i in np.flatnonzero(rare))
    what = f"recall of {', '.join(names[:5])} (common classes: {high:.2g})"
    evidence = Evidence(what, low, bound * high, SOURCE)
    return [_finding(evidence, int(steps[0]), share, facts)]


def _shares(values: Floats) -> Array:
    """Shares as numbers from 0 to 1, 0 where there is none."""
    return np.clip(np.nan_to_num(values.astype(np.float64)), 0.0, 1.0)


def _finding(evidence: Evidence, onset: int, share: Array, facts: Facts) -> Finding:
    return Finding(
        signature="class_imbalance",
        layer="run",
        onset=onset,
        severity="warning",
        evidence=(evidence,),
        layers=("run",),
        stream=facts.stream,
        detail={"largest_share": float(share.max())},
    )


def _worse_on_others(series: Mapping[str, Series]) -> bool:
    """Whether held-out data, which may be balanced, are recognised far less often."""
    names = held_out(series.get("metric"), "accuracy")
    right = series.get("accuracy")
    if not names or right is None or right.steps.size == 0:
        return False
    held = finite(series["metric"].of(names[0]))
    return held.size > 0 and level(held[-3:]) < level(right.values[-5:]) - APART


def _recall(hits: np.ndarray, seen: np.ndarray, chosen: np.ndarray) -> float:
    total = float(seen[chosen].sum())
    return float(hits[chosen].sum()) / total if total else 1.0


SIGNATURE = Signature(
    name="class_imbalance",
    about="Rare classes are recognised far less often than common ones.",
    needs=("target_share", "target_right"),
    detect=detect,
    uses=("batch_size",),
)
