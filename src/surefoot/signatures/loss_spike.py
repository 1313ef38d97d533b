"""Loss spikes: the loss jumps far out of its recent range, and falls back or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from surefoot.signatures.context import JUMPED, SURE_JUMP, around
from surefoot.signatures.heads import is_agent
from surefoot.signatures.statistics import (
    Array,
    episodes,
    level,
    trailing,
    trailing_top,
)
from surefoot.types import Event, Evidence, Facts, Finding, Series, Severity, Signature

WINDOW = 50
SIGMAS = 6.0
SOURCE = (
    "6 robust deviations of the last 50 steps (OLMo-core's rule with median and MAD), "
    "above all of them, and a quarter of the progress made so far "
    "(benchmarks/zoo)"
)
SHARE = 0.25
COST = 10.0
SOURCE_COST = (
    "steps in which all progress was lost; healthy runs with fast, benign spikes stay "
    "below 10 (benchmarks/zoo)"
)
RECOVERED_SHARE = 0.1
GAP = 10
REST = 20
PATIENCE = 30
"""Steps after which a loss that is not back counts as lost: longer than any healthy
run of ours took (benchmarks/zoo)."""
SHORTEST = 20


@dataclass(frozen=True, slots=True)
class Spike:
    """One spike: where it begins, how high it goes, and what came after it.

    `level` and `sigma` are those of the steps before, `stake` the progress made by
    then. `lasted` counts steps until
    the loss was back, `cost` the progress that was lost in them (1: all of it for
    one step). `back` says whether it came back before the end of the record.
    """

    first: int
    height: float
    level: float
    sigma: float
    stake: float
    lasted: int
    cost: float
    back: bool


def detect(
    series: Mapping[str, Series], facts: Facts, events: Sequence[Event]
) -> list[Finding]:
    """The first spike that did harm, or as information the highest of all."""
    loss = series["loss"]
    values = loss.values[:, 0].astype(np.float64)
    if values.size < SHORTEST:
        return []
    found = spikes(values)
    if not found:
        return []
    agent = is_agent(events)
    contexts = [around(series, int(loss.steps[spike.first])) for spike in found]
    pairs = [*zip(found, contexts, strict=True)]
    usual = max((one.lasted for one in found if one.back), default=0)
    harmful = [
        (one, about)
        for one, about in pairs
        if (not agent or about["lr_ratio"] > SURE_JUMP)
        and _harmful(one, about, facts, usual)
    ]
    if harmful:
        return [_finding(*harmful[0], "warning", loss, facts, len(harmful))]
    highest = max(pairs, key=lambda pair: pair[0].height)
    return [_finding(*highest, "info", loss, facts, len(found))]


def _harmful(
    spike: Spike, context: Mapping[str, float | bool], facts: Facts, usual: int
) -> bool:
    """Whether a spike cost much, and is more than an accident that heals itself.

    Either the loss did not come back within twice the time that other spikes of this
    run took (`usual`, steps), or the input or the learning rate jumped at its
    beginning. The losses of adversaries spike by nature.
    """
    if facts.stream != "main" or context["restart"]:
        return False
    if context["lr_ratio"] > SURE_JUMP:
        return True
    if context["input_ratio"] > SURE_JUMP and spike.height > spike.stake:
        return True
    jumped = max(context["lr_ratio"], context["input_ratio"]) > JUMPED
    stays = not spike.back and spike.lasted > max(2 * usual, PATIENCE)
    return bool(spike.cost > COST and (jumped or stays))


def spikes(values: Array) -> list[Spike]:
    """All spikes of a loss, in order; what happens in the wake of one belongs to it."""
    middle, spread = trailing(values, WINDOW)
    range_above = trailing_top(values, 2 * WINDOW) - middle
    progress = np.maximum(level(values[:3]) - np.fmin.accumulate(middle), 0.0)
    # a run without progress yet: its own range stands for what there is to lose
    stake = np.maximum(progress, 2 * np.maximum(range_above, SIGMAS * spread))
    clean = np.where(np.isfinite(values), values, -np.inf)
    above = clean - middle
    bound = np.maximum(SIGMAS * spread, np.maximum(SHARE * stake, range_above))
    mask = np.isfinite(middle) & (above > 0) & (above > bound)
    smooth = _smooth(values)
    found: list[Spike] = []
    over = 0
    for first, _ in episodes(mask, GAP):
        if first >= over:
            known = (float(middle[first]), float(spread[first]), float(stake[first]))
            found.append(_spike(clean, smooth, first, *known))
            over = first + found[-1].lasted
    return found


def _smooth(values: Array) -> Array:
    """Median of each step and the four after it; what is not finite counts as high."""
    high = np.where(np.isfinite(values), values, np.inf)
    return np.median(sliding_window_view(np.append(high, [high[-1]] * 4), 5), axis=1)


def _spike(
    values: Array, smooth: Array, first: int, before: float, sigma: float, stake: float
) -> Spike:
    """Measure the spike that begins at a position, and what came after it.

    A damaged network may look sound on the first batches after a bad one, and then
    follow the momentum away: the loss is back when it stays back for `REST` steps.
    """
    bound = before + max(3 * sigma, RECOVERED_SHARE * stake)
    lasted = _wake(smooth, first, bound)
    top = float(values[first : first + lasted + 1].max(initial=before))
    after = smooth[first : first + lasted]
    lost = (after - before) / stake if stake > 0 else after > bound
    cost = float(np.clip(lost, 0, 1).sum())
    back = first + lasted < len(values)
    return Spike(first, top - before, before, sigma, stake, lasted, cost, back)


def _wake(smooth: Array, first: int, bound: float) -> int:
    """Steps after `first` until the loss stays below the bound for `REST` steps."""
    reach = 8 * REST
    while True:
        hurt = episodes(smooth[first : first + reach] > bound, REST)
        lasted = hurt[0][1] + 1 if hurt and hurt[0][0] <= REST else 0
        if lasted + REST < reach or first + reach >= smooth.size:
            return lasted
        reach *= 4


def _finding(
    spike: Spike,
    context: Mapping[str, float | bool],
    severity: Severity,
    loss: Series,
    facts: Facts,
    count: int,
) -> Finding:
    onset = int(loss.steps[spike.first])
    name = f"loss, step {onset} (level before: {spike.level:.4g})"
    bound = spike.level + SIGMAS * spike.sigma
    return Finding(
        signature="loss_spike",
        layer="run",
        onset=onset,
        severity=severity,
        evidence=(
            Evidence(name, spike.level + spike.height, bound, SOURCE),
            Evidence("progress lost, in steps", spike.cost, COST, SOURCE_COST),
        ),
        layers=("run",),
        stream=facts.stream,
        detail={
            "count": count,
            "lasted_steps": spike.lasted,
            "recovered": spike.back,
            "height": spike.height,
            **context,
        },
    )


SIGNATURE = Signature(
    name="loss_spike",
    about="The loss jumps far out of its recent range; harmless if it is back at once.",
    needs=("loss",),
    detect=detect,
    uses=("lr", "grad_norm", "input_absmax"),
)
