"""Input shift: from one step on the inputs come from another distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from surefoot.signatures.context import around
from surefoot.signatures.heads import is_agent
from surefoot.signatures.learning import learning
from surefoot.signatures.loss_spike import SHORTEST, spikes
from surefoot.signatures.statistics import (
    Array,
    block_levels,
    level,
    noise,
    scale_about_zero,
)
from surefoot.types import Event, Evidence, Facts, Finding, Series, Severity, Signature

WIDTH = 10
BEFORE = 5
AFTER = 2
MOST_BLOCKS = 400
KICK = 4.0
"""Jump of the gradient at the same step that shows that it matters."""
NEAR = 5
"""Steps between the jump of the inputs and that of the loss."""
"""Blocks of ten steps that are compared: fifty steps before, twenty after."""
SIGMAS = 8.0
SMALLEST = 0.5
SOURCE = (
    "half a deviation of the inputs, and 8 deviations of the level of ten batches; "
    "none of 600 stationary series of 500 steps has such a jump "
    "(tests/signatures/test_input_shift.py)"
)


@dataclass(frozen=True, slots=True)
class Shift:
    """A jump of a level: at which position, how far, on what noise."""

    place: int
    size: float
    bound: float


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """One finding for the larger jump of the mean and the spread of the inputs."""
    mean, spread = series["input_mean"], series["input_std"]
    usual = level(spread.values)
    if usual <= 0:
        return []
    shifts = [
        (shift, one)
        for one in (mean, spread)
        if (shift := jump(one.values[:, 0].astype(np.float64), SMALLEST * usual))
    ]
    if not shifts:
        return []
    shift, one = max(shifts, key=lambda pair: abs(pair[0].size) / pair[0].bound)
    onset = int(one.steps[shift.place])
    name = f"jump of {one.quantity} at step {onset} (usual input_std {usual:.3g})"
    course = learning(series, facts)
    hurt = course.trouble and course.onset >= onset - 5 * WIDTH
    kicked = around(series, onset)["grad_ratio"] > KICK
    hurt = (hurt or kicked or _loss_jumped(series, onset)) and not is_agent(events)
    severity: Severity = "warning" if hurt else "info"
    return [
        Finding(
            signature="input_shift",
            layer="input",
            onset=onset,
            severity=severity,
            evidence=(Evidence(name, abs(shift.size), shift.bound, SOURCE),),
            layers=("input",),
            stream=facts.stream,
            detail={"deviations": abs(shift.size) / usual},
        )
    ]


def _loss_jumped(series: Mapping[str, Series], onset: int) -> bool:
    """Whether the loss left its range when the inputs did."""
    loss = series.get("loss")
    if loss is None or loss.steps.size < SHORTEST:
        return False
    found = spikes(loss.values[:, 0].astype(np.float64))
    return any(abs(int(loss.steps[one.first]) - onset) <= NEAR for one in found)


def jump(values: Array, smallest: float) -> Shift | None:
    """The largest lasting jump of a level that goes within one block, or None."""
    recent = max(0, values.size - MOST_BLOCKS * WIDTH)
    found = _jump(values[recent:], smallest, WIDTH)
    if recent == 0:
        return found
    # The whole of a long run is looked at more coarsely.
    coarse = _jump(values, smallest, values.size // MOST_BLOCKS)
    if found is None:
        return coarse
    return Shift(found.place + recent, found.size, found.bound)


def _jump(values: Array, smallest: float, width: int) -> Shift | None:
    """The largest lasting jump between blocks of a width."""
    if values.size < (BEFORE + AFTER) * width:
        return None
    levels = block_levels(values, width)
    error = _error(values, levels, width)
    bound = max(smallest, SIGMAS * error)
    best: Shift | None = None
    for place in _places(levels, bound):
        before = level(levels[max(0, place - BEFORE) : place])
        after = level(levels[place:])
        near = level(levels[place : place + AFTER])
        size = after - before
        abrupt = abs(near - before) > 0.75 * abs(size)
        if abs(size) <= bound or not abrupt:
            continue
        if best is None or abs(size) > abs(best.size):
            exact = _exact(values, place * width, before, after, width=width)
            best = Shift(exact, size, bound)
    return best


def _places(levels: Array, bound: float) -> list[int]:
    """Blocks whose level differs from the one before, or the second before, at all."""
    pair = 0.5 * (levels[2 : len(levels) - 1] + levels[3:])
    change = np.fmax(abs(pair - levels[1:-2]), abs(pair - levels[:-3]))
    return [int(i) + 2 for i in np.flatnonzero(change > 0.3 * bound)]


def _error(values: Array, levels: Array, width: int) -> float:
    """Uncertainty of the level of a block: from its batches, or from block to block."""
    batch = 1.25 * noise(values) / np.sqrt(width)
    blocks = scale_about_zero(np.diff(levels)) / np.sqrt(2.0)
    return float(max(batch, blocks))


def _exact(
    values: Array, about: int, before: float, after: float, *, width: int
) -> int:
    """The step of a jump that lies within a few blocks of `about`."""
    middle = 0.5 * (before + after)
    first, last = max(0, about - 3 * width), min(values.size, about + 2 * width)
    over = (values[first:last] > middle) == (after > before)
    # the place that leaves fewest steps on the wrong side
    wrong = np.concatenate([[0], np.cumsum(over)]) + np.concatenate(
        [np.cumsum((~over)[::-1])[::-1], [0]]
    )
    return first + int(np.argmin(wrong))


SIGNATURE = Signature(
    name="input_shift",
    about="The inputs changed their mean or spread at one step and stay there.",
    needs=("input_mean", "input_std"),
    detect=detect,
    uses=("loss",),
)
