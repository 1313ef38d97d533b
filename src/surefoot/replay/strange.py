"""Which batches are unlike the others: recorded batches come in, Strange goes out.

Two looks at a batch: its numbers, and its loss under weights that stand still. The
second is the one that tells wrong labels from right ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch.utils import _pytree as pytree

from surefoot.blackbox.incident import StepRecord
from surefoot.replay.window import Window

SPREADS = 8.0
"""Median absolute deviations from the median beyond which a batch is unlike others:
in a normal distribution 5.4 standard deviations, one batch in ten million."""

SHARE = 0.5
"""And by half of the median at least, for batches that hardly differ: half or double
the spread of the inputs."""

LOSS_SHARE = 0.75
"""A loss under still weights must rise by three quarters to be strange."""

BESIDE = 0.05
"""Beside a batch that costs twenty times as much, a hard one is like any other."""

FEW = 4
"""Strange batches that are called passing; a fault that stays makes more of them."""


@dataclass(frozen=True, slots=True)
class Look:
    """The numbers of one step's batch: mean, spread, and whether all are finite."""

    step: int
    mean: float
    spread: float
    finite: bool


@dataclass(frozen=True, slots=True)
class Strange:
    """Steps whose batches are unlike those before the onset.

    `inputs` by their numbers, `losses` by their loss under still weights, `broken`
    with numbers that are none.
    """

    inputs: tuple[int, ...] = ()
    losses: tuple[int, ...] = ()
    broken: tuple[int, ...] = ()

    @property
    def steps(self) -> tuple[int, ...]:
        """All of them, in order."""
        return tuple(sorted({*self.inputs, *self.losses, *self.broken}))


def looks(steps: Sequence[StepRecord]) -> list[Look]:
    """A look at the inputs of each step."""
    return [_look(one) for one in steps]


def strange_inputs(seen: Sequence[Look], before: int) -> tuple[int, ...]:
    """Steps whose inputs are unlike those of the steps before `before`."""
    own = [one for one in seen if one.step < before and one.finite]
    means, spreads = [one.mean for one in own], [one.spread for one in own]
    size = median(spreads) if spreads else 0.0
    return tuple(
        one.step
        for one in seen
        if one.finite
        and (
            _off(one.mean, means, SHARE * size)
            or _off(one.spread, spreads, SHARE * size)
        )
    )


def first_strange(seen: Sequence[Look]) -> tuple[int, ...]:
    """Steps whose inputs stand out of the whole window, or are no numbers.

    Each is compared with those before it: what is strange from one step on to the end
    is found too.
    """
    found: list[int] = []
    for place, one in enumerate(seen):
        earlier = [two for two in seen[:place] if two.step not in found]
        if not one.finite or (
            len(earlier) >= FEW and strange_inputs([*earlier, one], one.step)
        ):
            found.append(one.step)
    return tuple(found)


def strange_losses(still: Sequence[float], window: Window) -> tuple[int, ...]:
    """Steps from the onset on whose loss under still weights is far above the others.

    `still` has one loss a step from the window's first on.
    """
    rows = list(enumerate(still, start=window.first))
    calm = [v for s, v in rows if s < window.onset and math.isfinite(v)]
    if not calm:
        return ()
    # Of these the weights stand still, as they do later.
    own = calm[-max(window.onset - window.parting, 1) :]
    level = median(own)
    found = {
        step: loss - level
        for step, loss in rows
        if step >= window.onset
        and math.isfinite(loss)
        and loss > max(calm)
        and _off(loss, own, LOSS_SHARE * abs(level))
    }
    least = BESIDE * max(found.values(), default=0.0)
    return tuple(step for step, excess in found.items() if excess >= least)


def lasting(found: Sequence[int], window: Window) -> bool:
    """Whether strange batches go on to the end, more than a few of them.

    >>> lasting([5, 6], Window(0, 1, 5, 40)), lasting(range(5, 41), Window(0, 1, 5, 40))
    (False, True)
    """
    if not found:
        return False
    rest = window.last - found[0] + 1
    return len(found) >= max(0.6 * rest, min(FEW + 1, rest)) and rest > FEW


def _off(value: float, others: Sequence[float], least: float) -> bool:
    """Whether a number lies far from others: by their spread, and by a least share."""
    if not others:
        return False
    middle = median(others)
    spread = median([abs(one - middle) for one in others])
    return abs(value - middle) > max(SPREADS * spread, least)


def _look(step: StepRecord) -> Look:
    inputs = [one for micro in step.micro if (one := _inputs(micro.batch)) is not None]
    if not inputs:
        return Look(step.step, 0.0, 0.0, finite=_finite(step))
    values = torch.cat([one.detach().double().flatten().cpu() for one in inputs])
    finite = bool(values.isfinite().all()) and _finite(step)
    spread = float(values.std(correction=0)) if finite else math.nan
    return Look(step.step, float(values.mean()), spread, finite)


def _inputs(batch: Any) -> torch.Tensor | None:
    """The first tensor of a batch, if its numbers can be compared."""
    leaves = [x for x in pytree.tree_leaves(batch) if isinstance(x, torch.Tensor)]
    if not leaves or not leaves[0].is_floating_point() or not leaves[0].numel():
        return None
    return leaves[0]


def _finite(step: StepRecord) -> bool:
    leaves = [x for micro in step.micro for x in pytree.tree_leaves(micro.batch)]
    return all(
        bool(one.isfinite().all())
        for one in leaves
        if isinstance(one, torch.Tensor) and one.is_floating_point()
    )
