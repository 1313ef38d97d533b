"""Numbers that people choose come in, the schedules that papers describe go out."""

from __future__ import annotations

import math
from typing import Literal

from surefoot.schedules.combined import Then
from surefoot.schedules.errors import ScheduleError
from surefoot.schedules.scheduled import Constant, Product, Scheduled, scheduled
from surefoot.schedules.shapes import Cosine, Exponential, Geometric, Linear

Shape = Literal["linear", "cosine", "geometric"]
Rule = Literal["linear", "sqrt"]


def anneal(
    start: float, end: float, steps: float, *, shape: Shape = "geometric"
) -> Scheduled:
    """From one value to another: a temperature, σ, an entropy bonus.

    Geometric by default: a temperature matters by its ratio, so that each factor of
    ten takes as many steps.

    >>> round(anneal(1.0, 0.01, 1_000)(500), 12)
    0.1

    Raises:
        ScheduleError: the shape is unknown, or refuses the numbers.
    """
    if shape == "linear":
        return Linear(start, end, steps)
    if shape == "cosine":
        return Cosine(start, end, steps)
    if shape == "geometric":
        return Geometric(start, end, steps)
    raise ScheduleError(
        f"shape={shape!r} came; expected 'linear', 'cosine' or 'geometric'"
    )


def ramp_up(strength: float, steps: float, *, shape: Shape = "linear") -> Scheduled:
    """A penalty that comes in slowly: 0 at the start, `strength` after `steps`.

    >>> ramp_up(0.1, 100).values([0, 50, 100, 1_000])
    [0.0, 0.05, 0.1, 0.1]
    """
    return anneal(0.0, strength, steps, shape=shape)


def early_strong(
    strength: float, steps: float, *, then: float = 0.0, shape: Shape = "linear"
) -> Scheduled:
    """A penalty that is strong first: `strength` at the start, `then` after `steps`.

    The reverse of `ramp_up`. Texts recommend both; `docs/corrections/penalty-shape.md`
    has a comparison to copy.

    >>> early_strong(0.1, 100).values([0, 50, 100, 1_000])
    [0.1, 0.05, 0.0, 0.0]
    """
    return anneal(strength, then, steps, shape=shape)


def untuned_warmup(beta2: float) -> int:
    """The length of a linear warm-up for Adam that needs no tuning: 2/(1 - β₂).

    Ma & Yarats 2021 (arXiv 1910.04209), "On the adequacy of untuned warmup".

    >>> untuned_warmup(0.999)
    2000

    Raises:
        ScheduleError: β₂ is not in [0, 1).
    """
    if not 0 <= beta2 < 1:
        raise ScheduleError(f"beta2={beta2!r} came; expected a number in [0, 1)")
    return math.ceil(round(2 / (1 - beta2), 6))  # 1 - 0.999 is not 0.001 to the bit


def warm_up(
    schedule: float | Scheduled,
    steps: float,
    *,
    start: float = 0.0,
    kind: Literal["linear", "exponential"] = "linear",
) -> Scheduled:
    """A schedule that is led in; it begins, without a jump, when `steps` are over.

    "linear" (Goyal et al. 2017, arXiv 1706.02677) rises to the schedule's first value
    in `steps`. "exponential" (Ma & Yarats 2021) is the factor 1 - e^(-t/τ) on it with
    τ = steps/2, for which both have the same untuned length; it is at 86 % when the
    schedule begins, and goes on.

    Args:
        schedule: what follows, read from its own step 0.
        steps: how long; `untuned_warmup(beta2)` for Adam.
        start: the share of the first value that step 0 has. At 0 the first update
            changes nothing but the optimizer's state.
        kind: which.

    >>> from surefoot.schedules import Cosine
    >>> warm_up(Cosine(0.1, 0.0, steps=90), 10).values([0, 5, 10, 55, 100])
    [0.0, 0.05, 0.1, 0.05, 0.0]

    Raises:
        ScheduleError: no steps, or the kind is unknown.
    """
    follows = scheduled(schedule)
    peak = follows(0)
    if kind == "linear":
        return Then(Linear(start * peak, peak, steps), follows, at=steps)
    if kind == "exponential":
        lead = Exponential(start, 1.0, scale=steps / 2)
        return Product(lead, Then(Constant(peak), follows, at=steps))
    raise ScheduleError(f"kind={kind!r} came; expected 'linear' or 'exponential'")


def batch_factor(batch: float, *, reference: float, rule: Rule = "linear") -> float:
    """How much larger a rate may be when the batch is.

    "linear": batch/reference (Goyal et al. 2017), for SGD. "sqrt": its square root
    (Krizhevsky 2014, arXiv 1404.5997; Malladi et al. 2022, arXiv 2205.10287), for Adam.

    >>> batch_factor(256, reference=32)
    8.0
    >>> round(batch_factor(256, reference=32, rule="sqrt"), 3)
    2.828

    Raises:
        ScheduleError: a size that is not positive, or an unknown rule.
    """
    if not (0 < batch < math.inf and 0 < reference < math.inf):
        raise ScheduleError(
            f"batches of {batch!r} and {reference!r} came; expected positive sizes"
        )
    if rule not in ("linear", "sqrt"):
        raise ScheduleError(f"rule={rule!r} came; expected 'linear' or 'sqrt'")
    times = batch / reference
    return times if rule == "linear" else math.sqrt(times)


def large_batch(
    schedule: float | Scheduled,
    batch: float,
    *,
    reference: float,
    steps: float,
    rule: Rule = "linear",
) -> Scheduled:
    """A schedule for a large batch: scaled, and led in from what it was.

    The rate starts where it was good for the reference batch and rises to `factor`
    times it over `steps`: five epochs in Goyal et al. 2017.

    >>> large_batch(0.1, 256, reference=32, steps=100).values([0, 100, 500])
    [0.1, 0.8, 0.8]
    """
    factor = batch_factor(batch, reference=reference, rule=rule)
    whole = Product(Constant(factor), scheduled(schedule))
    return warm_up(whole, steps, start=1 / factor)
