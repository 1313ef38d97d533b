"""Whether a fault hurt: held-out scores of a run and its twin come in, a verdict out.

A fault that did no harm is no fault that could be missed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from surefoot.signatures.statistics import t_limit
from surefoot.zoo.task import Scores

SIGNIFICANCE = 0.01
LEAST_ACCURACY = 0.02
"""Two points of accuracy: less is hardly worth an alarm."""

LEAST_LOSS = 0.1
"""A tenth of what the twin's loss is, or of one nat if that is less."""


@dataclass(frozen=True, slots=True)
class Harm:
    """What a fault cost: `effect` in points of accuracy (0 to 1) or in loss.

    `held` says that it is both significant and large enough to matter.
    """

    held: bool
    effect: float
    measure: str


def harm(faulty: Scores | None, twin: Scores | None, spread: float = 0.0) -> Harm:
    """What a fault cost in held-out accuracy or loss, against its twin.

    `spread` is the standard deviation of the twin's accuracy (loss where there is no
    accuracy) over seeds: an effect within three of it could be chance. Runs without
    a finite score are harmed. The loss counts beside the accuracy: a network that is
    wrong with confidence is harmed too.
    """
    if twin is None:
        return Harm(held=False, effect=0.0, measure="nothing")
    if faulty is None or not faulty.finite:
        return Harm(held=True, effect=math.inf, measure="not finite")
    if faulty.right is None or twin.right is None:
        return _in_loss(faulty, twin, spread)
    effect = float(twin.right.mean() - faulty.right.mean())
    large = effect > max(LEAST_ACCURACY, 3 * spread)
    if large and mcnemar(faulty.right, twin.right) < SIGNIFICANCE:
        return Harm(held=True, effect=effect, measure="accuracy")
    in_loss = _in_loss(faulty, twin, 0.0)
    return in_loss if in_loss.held else Harm(False, effect, "accuracy")


def _in_loss(faulty: Scores, twin: Scores, spread: float) -> Harm:
    difference = faulty.loss - twin.loss
    effect = float(difference.mean())
    scale = abs(float(twin.loss.mean()))
    least = LEAST_LOSS * (scale if twin.right is None else max(1.0, scale))
    large = effect > max(least, 3 * spread)
    return Harm(large and _above_zero(difference), effect, "loss")


def _above_zero(difference: npt.NDArray[np.float64]) -> bool:
    """Paired t-test: whether the mean is above zero at the significance of the zoo."""
    error = float(difference.std(ddof=1)) / math.sqrt(len(difference))
    limit = t_limit(len(difference) - 1, 1 - SIGNIFICANCE)
    return float(difference.mean()) > limit * error


def mcnemar(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    """Exact two-sided p-value of McNemar's test on paired right answers.

    >>> import numpy as np
    >>> right, wrong = np.ones(10, dtype=bool), np.zeros(10, dtype=bool)
    >>> round(mcnemar(right, wrong), 5)
    0.00195
    """
    gained = int((one & ~other).sum())
    lost = int((other & ~one).sum())
    n, k = gained + lost, min(gained, lost)
    log_half = n * math.log(0.5)
    tail = sum(math.exp(_log_choose(n, i) + log_half) for i in range(k + 1))
    return min(1.0, 2 * tail)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
