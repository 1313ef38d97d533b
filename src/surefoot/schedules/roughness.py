"""A schedule comes in, how rough it is and a smoother one go out."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from surefoot.schedules.combined import Smoothed
from surefoot.schedules.errors import ScheduleError
from surefoot.schedules.scheduled import Scheduled
from surefoot.schedules.shapes import Tabulated


@dataclass(frozen=True, slots=True)
class Roughness:
    """How rough a sequence of values η is, in three numbers.

    Attributes:
        total_variation: Σ|Δη|. Of a monotone schedule it is first minus last, whatever
            the shape: it cannot tell a cosine from a drop.
        sum_of_squares: Σ(Δη)², which can: J²/w where a jump J takes w steps.
        largest_log_jump: max |Δ ln η|, the largest ratio of neighbours; 0 and what
            follows it or leads to it, as in a warm-up from 0, are left out.
        monotone: whether the first number says nothing about the shape.
    """

    total_variation: float
    sum_of_squares: float
    largest_log_jump: float
    monotone: bool

    def __str__(self) -> str:
        blind = " (blind to the shape: monotone)" if self.monotone else ""
        return (
            f"total variation {self.total_variation:.4g}{blind}, sum of squares "
            f"{self.sum_of_squares:.4g}, largest log-jump {self.largest_log_jump:.4g}"
        )


def schedule_roughness(
    schedule: Scheduled | Sequence[float] | LRScheduler, steps: int | None = None
) -> Roughness:
    """How rough a schedule is over its first `steps` steps, both ends counted.

    Args:
        schedule: ours, values one by one, or a torch scheduler, which stays as it is.
        steps: from step 0 to this one; of a sequence all of it if not given.

    >>> from surefoot.schedules import Cosine
    >>> print(schedule_roughness(Cosine(0.1, 0.0, steps=1_000), 1_000))
    total variation 0.1 (blind to the shape: monotone), sum of squares 1.234e-05,
    largest log-jump 1.386

    Raises:
        ScheduleError: no steps, values that are not finite, or a torch scheduler that
            needs a metric.
    """
    values = _values(schedule, steps)
    if len(values) < 2 or not all(map(math.isfinite, values)):
        raise ScheduleError(
            f"{len(values)} values came, or some that are not finite; expected two "
            "finite ones at least"
        )
    changes = [after - before for before, after in pairwise(values)]
    ratios = [
        abs(math.log(abs(after)) - math.log(abs(before)))
        for before, after in pairwise(values)
        if before * after > 0
    ]
    return Roughness(
        math.fsum(map(abs, changes)),
        math.fsum(change**2 for change in changes),
        max(ratios, default=0.0),
        all(change >= 0 for change in changes)
        or all(change <= 0 for change in changes),
    )


def smooth_schedule(schedule: Scheduled, width: int) -> Smoothed:
    """The causal moving average of a schedule over `width` steps.

    A jump J becomes w steps of J/w: its sum of squares falls from J² to J²/w, the total
    variation stays. `recorded` makes a schedule of a torch scheduler.

    >>> from surefoot.schedules import PiecewiseConstant
    >>> drop = PiecewiseConstant((0.1, 0.0), at=(500,))
    >>> print(schedule_roughness(smooth_schedule(drop, 50), 1_000))
    total variation 0.1 (blind to the shape: monotone), sum of squares 0.0002,
    largest log-jump 0.6931

    Raises:
        ScheduleError: the width is no positive integer.
    """
    return Smoothed(schedule, width)


def recorded(scheduler: LRScheduler, steps: int, *, group: int = 0) -> Tabulated:
    """The rates that a torch scheduler is about to give, as a schedule of ours.

    From its rate of now on. It runs on a copy beside a stand-in for the optimizer:
    scheduler, optimizer and weights stay as they are.

    Args:
        scheduler: any that needs no metric.
        steps: how many rates.
        group: of which parameter group.

    >>> from torch.optim.lr_scheduler import ExponentialLR
    >>> sgd = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    >>> recorded(ExponentialLR(sgd, 0.5), 3)
    Tabulated(table=(0.1, 0.05, 0.025))

    Raises:
        ScheduleError: the scheduler needs a metric, ends before, or has no such group.
    """
    if isinstance(scheduler, ReduceLROnPlateau):
        raise ScheduleError(
            "ReduceLROnPlateau came; expected a scheduler whose rates depend on the "
            "step alone; keep its rates while training, and give the list"
        )
    groups = scheduler.optimizer.param_groups
    if steps < 1 or not 0 <= group < len(groups):
        raise ScheduleError(
            f"steps={steps!r} and group={group!r} came; expected 1 or more, and one of "
            f"{len(groups)} groups"
        )
    like = _StandIn(groups)
    ahead = copy.deepcopy(scheduler, {id(scheduler.optimizer): like})
    rates = [_rate(like, group)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own schedulers about each other
        for _ in range(steps - 1):
            try:
                ahead.step()
            except ValueError as error:
                raise ScheduleError(
                    f"{type(scheduler).__name__} ended after {len(rates)} of {steps} "
                    f"steps: {error}"
                ) from error
            rates.append(_rate(like, group))
    return Tabulated(tuple(rates))


class _StandIn(Optimizer):
    """An optimizer with the same options and no weights of anybody."""

    def __init__(self, groups: Sequence[dict[str, Any]]) -> None:
        own = [
            {k: copy.deepcopy(v) for k, v in group.items() if k != "params"}
            | {"params": [torch.zeros(1)]}
            for group in groups
        ]
        super().__init__(own, {})
        self._opt_called = True

    def step(self, closure: Any = None) -> Any:
        """Do nothing."""


def _rate(optimizer: Optimizer, group: int) -> float:
    return float(optimizer.param_groups[group]["lr"])


def _values(
    schedule: Scheduled | Sequence[float] | LRScheduler, steps: int | None
) -> Sequence[float]:
    """What it is at steps 0 to `steps`."""
    if not isinstance(schedule, Scheduled | LRScheduler):
        return schedule if steps is None else schedule[: steps + 1]
    if steps is None:
        raise ScheduleError(
            f"{type(schedule).__name__} came without steps; expected the number of "
            "steps to look at, as a schedule has no end"
        )
    if isinstance(schedule, LRScheduler):
        return recorded(schedule, steps + 1).table
    return schedule.values(steps + 1)
