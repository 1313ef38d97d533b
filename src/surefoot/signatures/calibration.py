"""Calibration: how sure the network is, against how often it is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from surefoot.signatures.statistics import Array, level
from surefoot.types import Event, Evidence, Facts, Finding, Series, Signature

BINS = 15
BOUND = 0.15
READINGS = 5
SOURCE = (
    "mean top probability less accuracy on training batches, last readings; modern "
    "networks are off by 0.04 to 0.17 on held-out data (Guo et al. 2017, "
    "arXiv:1706.04599)"
)
NEWTON_STEPS = 50
CONVERGED = 1e-8


def calibration_error(
    confidence: npt.ArrayLike,
    right: npt.ArrayLike,
    *,
    bins: int = BINS,
    norm: Literal["l1", "l2", "max"] = "l1",
) -> float:
    """Difference between confidence and accuracy over equal bins of confidence.

    `confidence` and `right` (0 or 1) have shape `[n]`. "l1" is the expected
    calibration error, "l2" its root mean square, "max" the worst bin (Guo et al.
    2017, arXiv:1706.04599). 0 for no examples.

    >>> sure, half_sure = [0.9] * 10, [0.6] * 10
    >>> right = [1] * 8 + [0] * 2 + [1] * 6 + [0] * 4
    >>> round(calibration_error(sure + half_sure, right), 3)
    0.05
    """
    told = np.asarray(confidence, dtype=np.float64)
    hit = np.asarray(right, dtype=np.float64)
    if told.size == 0:
        return 0.0
    place = np.clip(np.ceil(told * bins).astype(np.int64) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    sums = np.bincount(place, weights=told - hit, minlength=bins)
    share = count / told.size
    gap = np.abs(sums) / np.maximum(count, 1)
    if norm == "max":
        return float(gap.max())
    if norm == "l2":
        return float(np.sqrt(share @ gap**2))
    return float(share @ gap)


def temperature(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """The temperature that fits scores to labels: `softmax(scores / T)`.

    `scores` has shape `[n, classes]`, `labels` `[n]`. Minimises the cross-entropy by
    Newton steps in log T, which is smooth there (Guo et al. 2017). 1 for no examples.

    Raises:
        ValueError: a label outside 0 … classes - 1, or shapes that do not fit.
    """
    held = np.asarray(scores, dtype=np.float64)
    index = np.asarray(labels, dtype=np.int64)
    if held.ndim != 2 or index.shape != held.shape[:1]:
        raise ValueError(
            f"scores came with shape {held.shape} and labels with {index.shape}; "
            "expected [n, classes] and [n]"
        )
    if held.shape[0] == 0:
        return 1.0
    if index.min() < 0 or index.max() >= held.shape[1]:
        raise ValueError(
            f"labels came from {index.min()} to {index.max()}; expected 0 to "
            f"{held.shape[1] - 1}, one for each column of the scores"
        )
    at = 0.0
    for _ in range(NEWTON_STEPS):
        move = _newton_step(held, index, at)
        at -= move
        if abs(move) < CONVERGED:
            break
    return float(np.exp(at))


def _newton_step(scores: Array, labels: npt.NDArray[np.int64], at: float) -> float:
    """Slope over curvature of the mean cross-entropy in log T, at most 1 long."""
    scaled = scores * np.exp(-at)
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    chance = np.exp(scaled)
    chance /= chance.sum(axis=1, keepdims=True)
    mean = (chance * scaled).sum(axis=1)
    own = scaled[np.arange(len(labels)), labels]
    slope = float((own - mean).mean())
    spread = float(((chance * scaled**2).sum(axis=1) - mean**2).mean())
    bend = spread - slope
    step = slope / bend if bend > 0 else np.sign(slope)
    return float(np.clip(step, -1.0, 1.0))


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding, for information, if confidence and accuracy end far apart."""
    told, right = series["confidence"], series["accuracy"]
    if min(told.steps.size, right.steps.size) < READINGS:
        return []
    gap = level(told.values[-READINGS:]) - level(right.values[-READINGS:])
    if abs(gap) < BOUND:
        return []
    onset = int(told.steps[-READINGS])
    return [
        Finding(
            signature="calibration",
            layer="run",
            onset=onset,
            severity="info",
            evidence=(Evidence("confidence - accuracy", gap, BOUND, SOURCE),),
            layers=("run",),
            stream=facts.stream,
            detail={"kind": "overconfident" if gap > 0 else "underconfident"},
        )
    ]


SIGNATURE = Signature(
    name="calibration",
    about="The network is surer than it is right, or less sure.",
    needs=("confidence", "accuracy"),
    detect=detect,
)
