"""Norms of accepted gradients come in, limits for the next one go out."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median_high

from surefoot.autopilot.signal import Limits, Signal


@dataclass(frozen=True, slots=True, kw_only=True)
class Spikes:
    """Which gradients are outliers.

    Attributes:
        skip: an update is skipped when its gradient norm is above this many medians;
            None skips only what is not finite.
        clip: longer gradients are scaled down to this many medians; None for never.
        loss: an update is skipped when its loss is above this many first losses.
        row: outliers that are skipped in a row; after them it counts as how it is.
        bad: the same for what is not finite; after them a state is put back.
        window, least: how many accepted norms the median is of, and from how many on.
        recent: norms whose median may raise the bound of a skip, so that a gradient
            that grows as training takes hold is not held for an outlier.
        early: the same as `skip` while there are fewer than `least` norms.

    Source: `benchmarks/autopilot`; 8 and 2.5 medians of 31 were the settings of our
    pilot study on six tasks, where a median worked from the fifth update on, and the
    mean and deviation of others need 25 to 64.
    """

    skip: float | None = 8.0
    clip: float | None = 2.5
    loss: float = 3.0
    row: int = 1
    bad: int = 3
    window: int = 31
    least: int = 5
    recent: int = 5
    early: float = 20.0


def limits_of(norms: tuple[float, ...], row: int, rule: Spikes) -> Limits:
    """Limits for the next update, after `row` updates in a row that were skipped.

    >>> limits_of((1.0, 2.0, 3.0, 4.0, 5.0), 0, Spikes())
    Limits(skip=24.0, clip=7.5)
    >>> limits_of((1.0,), 0, Spikes())
    Limits(skip=20.0, clip=None)
    """
    if not norms:
        return Limits()
    middle = median_high(norms)
    full = len(norms) >= rule.least
    skip = None
    if rule.skip is not None and row < rule.row:
        recent = median_high(norms[-rule.recent :])
        skip = rule.skip * max(middle, recent) if full else rule.early * middle
    return Limits(skip, None if rule.clip is None or not full else rule.clip * middle)


def is_spike(signal: Signal, first_loss: float | None, rule: Spikes) -> bool:
    """Whether an update is to be skipped."""
    if not signal.finite or signal.limits.skips(signal.norm):
        return True
    if first_loss is None or signal.loss is None or signal.limits.skip is None:
        return False
    if signal.late:
        return False  # the loss is that of another batch
    return signal.loss > rule.loss * first_loss


def remembered(
    norms: tuple[float, ...], signal: Signal, rule: Spikes
) -> tuple[float, ...]:
    """The accepted norms with one more: as it was after clipping."""
    clip = signal.limits.clip
    norm = signal.norm if clip is None else min(signal.norm, clip)
    return (*norms, norm)[-rule.window :]
