"""Plateau: the loss no longer falls; what the gradient says about why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from surefoot.signatures import network
from surefoot.signatures.learning import Learning, block_width, learning
from surefoot.signatures.profile import columns
from surefoot.signatures.statistics import level, ratio, root_sum_square
from surefoot.types import Event, Evidence, Facts, Finding, Series, Signature

Kind = Literal["converged", "flat", "bouncing", "wandering", "stuck"]

SMALL = 0.01
SHARP = 1.8
AGAINST = -0.3
NOISE = 0.1
SOURCE = (
    "gradient against that of the first steps, cosine of consecutive gradients and "
    "curvature along the update: a hundredth is flat, -0.3 and 1.8 bounce, less than "
    "0.1 is noise (Dauphin et al. 2014, arXiv:1406.2572; Xing et al. 2018, "
    "arXiv:1802.08770; benchmarks/zoo)"
)


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding, for information, where the loss stands still."""
    course = learning(series, facts)
    if course.state not in ("stuck", "settled"):
        return []
    size = _gradient_left(series["grad_norm"])
    kind = classify(
        size,
        cosine=_cosine(series, facts),
        sharpness=_sharpness(series),
        won=_won(course),
    )
    name = "grad_norm over that of the first steps, last twentieth"
    return [
        Finding(
            signature="plateau",
            layer="run",
            onset=course.onset,
            severity="info",
            evidence=(Evidence(name, size, SMALL, SOURCE),),
            layers=("run",),
            stream=facts.stream,
            detail={"kind": kind},
        )
    ]


def classify(gradient: float, *, cosine: float, sharpness: float, won: float) -> Kind:
    """Why a loss stands still.

    `gradient` is its norm over that of the first steps, `cosine` that of consecutive
    gradients, `sharpness` the curvature along the update times its length, `won` the
    share of the first loss that is gone. NaN where something is not known.

    >>> classify(1.0, cosine=-0.9, sharpness=1.9, won=0.2)
    'bouncing'
    """
    if sharpness > SHARP or cosine < AGAINST:
        return "bouncing"
    if gradient < SMALL:
        return "converged" if won > 0.5 else "flat"
    if abs(cosine) < NOISE:
        return "wandering"
    return "stuck"


def _gradient_left(grads: Series) -> float:
    total = root_sum_square(grads.values)
    width = block_width(total.size)
    return ratio(level(total[-width:]), level(total[:width]))


def _cosine(series: Mapping[str, Series], facts: Facts) -> float:
    rows = series.get("grad_cosine")
    layers = () if rows is None else network.weights(facts)
    known = tuple(name for name in layers if rows is not None and name in rows.layers)
    if rows is None or not known:
        return float("nan")
    values = columns(rows, known)
    return level(values[len(values) // 2 :], np.nan)


def _sharpness(series: Mapping[str, Series]) -> float:
    rows = series.get("directional_sharpness")
    if rows is None:
        return float("nan")
    return level(rows.values[rows.steps.size // 2 :], np.nan)


def _won(course: Learning) -> float:
    return ratio(course.gain, abs(course.start)) if course.start else 0.0


SIGNATURE = Signature(
    name="plateau",
    about="The loss no longer falls: converged, flat, bouncing or wandering.",
    needs=("loss", "grad_norm"),
    detect=detect,
    uses=("grad_cosine", "directional_sharpness"),
)
