"""One-sided game: of two adversaries one has won, and the other learns nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from surefoot.signatures.learning import block_width
from surefoot.signatures.statistics import Array, level
from surefoot.signatures.streams import Stream
from surefoot.types import Evidence, Finding

ABOUT = "The discriminator is right without effort; the generator gets no direction."
WON = 0.03
LOST = 4.0
SHORTEST = 100
SOURCE = (
    "share of its first loss that is left to the winner (Goodfellow et al. 2014: a "
    "discriminator that is sure passes on no gradient; benchmarks/zoo)"
)


def detect(streams: Sequence[Stream]) -> list[Finding]:
    """One finding if one stream's loss is nearly zero and another's climbed."""
    losses = [(s, _loss(s)) for s in streams]
    known = [(s, values) for s, values in losses if values.size >= SHORTEST]
    if len(known) != 2:
        return []
    for (winner, low), (loser, high) in (known, known[::-1]):
        left, risen = _ratio(low), _ratio(high)
        if left < WON and risen > LOST and low[0] > 0:
            return [_finding(winner, loser, low, left, risen)]
    return []


def _loss(stream: Stream) -> Array:
    loss = stream.series.get("loss")
    if loss is None:
        return np.empty(0)
    values = loss.values[:, 0].astype(np.float64)
    return values[np.isfinite(values)]


def _ratio(values: Array) -> float:
    """Last level over the first value: a game may be over within a few steps."""
    start = float(values[0])
    last = level(values[-2 * block_width(values.size) :])
    return last / start if start > 0 else 1.0


def _finding(
    winner: Stream, loser: Stream, low: Array, left: float, risen: float
) -> Finding:
    below = np.flatnonzero(low < WON * low[0])
    steps = winner.series["loss"].steps
    onset = int(steps[min(int(below[0]), len(steps) - 1)])
    name = f"loss of {winner.facts.stream}, share of its start that is left"
    other = f"loss of {loser.facts.stream}, times its start"
    return Finding(
        signature="one_sided_game",
        layer="run",
        onset=onset,
        severity="warning",
        evidence=(
            Evidence(name, left, WON, SOURCE),
            Evidence(other, risen, LOST, SOURCE),
        ),
        layers=("run",),
        stream=loser.facts.stream,
        detail={"winner": winner.facts.stream},
    )
