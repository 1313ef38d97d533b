"""A model, an optimizer and batches come in; losses at rising rates go out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, cycle, islice, pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from surefoot.restore.bare_step import bare_step
from surefoot.restore.one_number import one_number
from surefoot.restore.random_streams import RandomStreams
from surefoot.restore.snapshot import Snapshot
from surefoot.schedules.errors import ScheduleError
from surefoot.types import LossFunction

BLOWN_UP = 4.0
"""Times the first loss at which a range test ends: what the learning rate finders of
fastai and Lightning allow over the lowest one, which on a model that fits its batches
is next to nothing."""


@dataclass(frozen=True, slots=True)
class RangeTest:
    """What a range test saw: at rate i the loss of a batch, before and after an update.

    Attributes:
        rates: those that were tried, rising; fewer than asked for where it blew up.
        losses: before the first update, Smith's curve.
        after: of the same batch with the same random numbers, after the last update.
        edge: the rate from which on updates raise the loss of their own batch: the
            split of `rates` that the fewest of them contradict. Infinite if none does.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    after: tuple[float, ...]
    edge: float

    def __str__(self) -> str:
        low = min(zip(self.losses, self.rates, strict=True))
        return (
            f"{len(self.rates)} rates from {self.rates[0]:.3g} to "
            f"{self.rates[-1]:.3g}: lowest loss {low[0]:.4g} at {low[1]:.3g}, updates "
            f"raise their loss from {self.edge:.3g} on"
        )


def lr_range_test(
    model: nn.Module,
    optimizer: Optimizer,
    batches: Iterable[Any],
    *,
    loss_fn: LossFunction,
    rates: Sequence[float],
    updates: int | None = None,
) -> RangeTest:
    """Train at rates that rise, and put everything back.

    One update at each rate, one after the other (Smith 2017, arXiv 1506.01186); or,
    with `updates`, so many at each rate, each time from the weights of now. The second
    tells the edge where the model fits its batches on the way, as small ones do. Each
    group's rate keeps its ratio to the first one's.

    Afterwards weights, buffers, gradients, optimizer state, rates and random streams
    are as they were, bit for bit; no hook of the optimizer hears of the updates. Costs
    two passes forward and one back an update, and the memory of a second model with its
    optimizer. Healthy runs train at 1/300 to 1/4 of what first raises the loss
    (`surefoot check` tells the same interval from the first update alone).

    Args:
        model: in the mode that it is trained in.
        optimizer: whose updates are tried, with its state of now.
        batches: given to `loss_fn` in turn, again from the start when they are over.
        loss_fn: the loss of a batch.
        rates: of the first group, rising, such as
            `Geometric(1e-6, 1.0, steps=99).values(100)`.
        updates: at each rate, from the same start; None for a single sweep.

    >>> from surefoot.schedules import Geometric
    >>> weight = nn.Linear(1, 1, bias=False)
    >>> sgd = torch.optim.SGD(weight.parameters(), lr=1e-3)
    >>> def loss_fn(model, batch):
    ...     return 5 * model.weight.square().sum()
    >>> rates = Geometric(0.01, 1.0, steps=100).values(101)
    >>> found = lr_range_test(
    ...     weight, sgd, [None], loss_fn=loss_fn, rates=rates, updates=3
    ... )
    >>> 0.2 <= found.edge <= 0.2 * 1.05
    True

    Raises:
        ScheduleError: fewer than two rates, or some that do not rise; no batch; a first
            group with the rate 0, or a first loss that is not finite.
    """
    if len(rates) < 2 or not all(0 < low < high for low, high in pairwise(rates)):
        raise ScheduleError(
            f"{len(rates)} rates came, from {list(rates[:3])} on; expected two or more "
            "that are positive and rise, such as Geometric(1e-6, 1.0, 99).values(100)"
        )
    if updates is not None and updates < 1:
        raise ScheduleError(f"updates={updates!r} came; expected 1 or more, or None")
    scales = _scales(optimizer)
    snapshot = Snapshot(model, optimizer, None)
    pairs: list[tuple[float, float]] = []
    try:
        # Within: a loader that shuffles draws from the random streams.
        kept = list(islice(batches, updates or len(rates)))
        if not kept:
            raise ScheduleError("no batch came; expected one at least")
        snapshot.rewind()
        trial = _Trial(model, optimizer, loss_fn)
        drawn = cycle(kept)
        for rate in rates:
            if updates is not None:
                snapshot.rewind()
                drawn = cycle(kept)
            trial.set_rates(scales, rate)
            pairs.append(trial.train(list(islice(drawn, updates or 1))))
            if _blown_up(pairs):
                break
    finally:
        snapshot.restore()
    return _told(rates[: len(pairs)], pairs)


def lr_sensitivity(losses: Sequence[float], *, start: float) -> float:
    """How much a wrong rate costs: the mean over rates of min(ℓ, ℓ₀) - ℓ*.

    A figure of merit for a model or an optimizer (Wortsman et al. 2023,
    arXiv 2309.14322): 0 if every rate ends at the best loss ℓ*. Compare only the same
    rates, evenly spaced in their logarithm, about the best one.

    Args:
        losses: at the end of training, one for each rate; NaN and infinity count as ℓ₀.
        start: ℓ₀, the loss before training.

    >>> lr_sensitivity([1.0, 0.5, 0.5, math.nan], start=2.0)
    0.5

    Raises:
        ScheduleError: no loss, or a start that is not finite.
    """
    if not losses or not math.isfinite(start):
        raise ScheduleError(
            f"{len(losses)} losses with start={start!r} came; expected a loss for each "
            "rate, and a finite loss before training"
        )
    ends = [min(one, start) if math.isfinite(one) else start for one in losses]
    return math.fsum(one - min(ends) for one in ends) / len(ends)


class _Trial:
    """Updates of a live model, undone by whoever made it."""

    def __init__(
        self, model: nn.Module, optimizer: Optimizer, loss_fn: LossFunction
    ) -> None:
        self.model, self.optimizer, self.loss_fn = model, optimizer, loss_fn

    def set_rates(self, scales: Sequence[float], rate: float) -> None:
        """Set each group to its share of a rate."""
        groups = self.optimizer.param_groups
        for group, scale in zip(groups, scales, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate * scale)
            else:
                group["lr"] = rate * scale

    def train(self, batches: Sequence[Any]) -> tuple[float, float]:
        """The loss of the first batch, before and after an update on each.

        Both with the same random numbers.
        """
        streams = RandomStreams()
        before = self._update(batches[0])
        for batch in batches[1:]:
            self._update(batch)
        later = RandomStreams()
        streams.restore()
        with torch.no_grad():
            after = float(
                one_number(self.loss_fn(self.model, batches[0]), ScheduleError)
            )
        later.restore()
        return before, after

    def _update(self, batch: Any) -> float:
        for group in self.optimizer.param_groups:
            for weight in group["params"]:
                weight.grad = None
        with torch.enable_grad():
            loss = one_number(self.loss_fn(self.model, batch), ScheduleError)
            loss.backward()
        bare_step(self.optimizer)
        return float(loss.detach())


def _scales(optimizer: Optimizer) -> list[float]:
    """The rate of each group over that of the first."""
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    if rates[0] <= 0:
        raise ScheduleError(
            f"the first group has the rate {rates[0]!r}; expected one above 0, as the "
            "others keep their ratio to it"
        )
    return [rate / rates[0] for rate in rates]


def _blown_up(pairs: Sequence[tuple[float, float]]) -> bool:
    """Whether the last update led far above the lowest loss before.

    Raises:
        ScheduleError: the very first loss is not finite.
    """
    if not math.isfinite(pairs[0][0]):
        raise ScheduleError(
            f"the first loss is {pairs[0][0]}; expected a finite one; run "
            "`surefoot check` on the script"
        )
    last = pairs[-1]
    if not all(map(math.isfinite, last)):
        return True
    return min(last) > BLOWN_UP * abs(pairs[0][0])


def _told(rates: Sequence[float], pairs: Sequence[tuple[float, float]]) -> RangeTest:
    """The split of the rates that the fewest updates contradict."""
    rose = [
        -1 if b < a else 1 if b > a or not math.isfinite(b) else 0 for a, b in pairs
    ]
    lowered = sum(one < 0 for one in rose)
    wrong = list(accumulate(rose, initial=lowered))
    split = min(range(len(wrong)), key=wrong.__getitem__)
    edge = rates[split] if 1 in rose and split < len(rates) else math.inf
    before, after = zip(*pairs, strict=True)
    return RangeTest(tuple(rates), before, after, edge)
