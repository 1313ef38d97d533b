"""Which of two attempts is better, and whether it helped: attempts in, numbers out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from surefoot.rescue.attempt import Attempt, Measure

TRAINING_LOSS = "training loss at its end"
"""What attempts are judged by where they give no held-out number."""

LEAST_GAIN, LEAST_SHARE = 0.02, 0.05
"""Gain that counts: of a number between 0 and 1 at least 0.02, of others a share of the
larger one. Seeds alone move the accuracy of the zoo's homes by 0.004 to 0.028 (standard
deviation)."""

TAIL = 0.1
"""Share of an attempt whose median loss stands for its end."""

LEAST_TAIL = 5


def judged_by(attempts: Sequence[Attempt], measure: Measure) -> Measure:
    """The held-out number if all attempts that ended well have it, else the loss."""
    sound = [one for one in attempts if not one.failed and not one.refused]
    held_out = bool(sound) and all(one.metric is not None for one in sound)
    return measure if held_out else Measure(TRAINING_LOSS, higher_is_better=False)


def score(attempt: Attempt, measure: Measure) -> float:
    """How good an attempt is, higher is better; -inf for one without a number.

    >>> from surefoot.rescue.attempt import Plan
    >>> score(Attempt(Plan(), 9, metric=0.5), Measure("loss", False))
    -0.5
    """
    if measure.name == TRAINING_LOSS:
        value: float | None = end_loss(attempt.losses)
    else:
        value = attempt.metric
    if value is None or attempt.refused or not math.isfinite(value):
        return -math.inf
    return value if measure.higher_is_better else -value


def end_loss(losses: Sequence[float]) -> float:
    """The median of the last tenth of the losses; infinite if one is not finite.

    >>> end_loss([3.0] * 50 + [1.0] * 10)
    1.0
    """
    last = losses[-max(LEAST_TAIL, round(TAIL * len(losses))) :]
    if not last or not all(math.isfinite(one) for one in last):
        return math.inf
    return median(last)


def gain(attempt: Attempt, beside: Attempt, measure: Measure) -> float:
    """By how much an attempt is better than another, in the measure's own unit."""
    one, other = score(attempt, measure), score(beside, measure)
    if one == other:
        return 0.0
    return one - other


def helped(
    attempt: Attempt, beside: Attempt, measure: Measure, *, times: float = 1.0
) -> bool:
    """Whether an attempt is better than another by more than chance would make it.

    `times` is how many times the least gain that counts is asked for.

    >>> from surefoot.rescue.attempt import Plan
    >>> one, other = (Attempt(Plan(), 9, metric=m) for m in (0.95, 0.94))
    >>> helped(one, other, Measure("accuracy"))
    False
    """
    values = [score(one, measure) for one in (attempt, beside)]
    sizes = [abs(value) for value in values if math.isfinite(value)]
    largest = max(sizes, default=0.0)
    share = measure.higher_is_better and largest <= 1
    least = LEAST_GAIN if share else LEAST_SHARE * largest
    return gain(attempt, beside, measure) > times * least
