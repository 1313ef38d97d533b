"""Adam's memory from the history of gradient norms: norms come in, staleness goes out.

The second moment is the moving average of squared gradients, so how well it fits
follows from norms that are recorded at every step; v itself is read every ten steps.
"""

from __future__ import annotations

import numpy as np

from surefoot.signatures.statistics import Array
from surefoot.types import Facts


def second_beta(facts: Facts) -> float:
    """β₂ of the optimizer; that of Adam where it has none."""
    beta = facts.options.get("betas.1")
    return float(beta) if isinstance(beta, int | float) else 0.999


def staleness(norms: Array, beta: float) -> Array:
    """Norms over the root of their moving average before each step, `[n, k]`.

    The average is bias-corrected as Adam's is; 1 at the first step. What is not
    finite counts as unchanged.
    """
    power = np.where(np.isfinite(norms), norms, 0.0) ** 2
    average = moving_average(power, beta)
    count = np.arange(1, len(power))
    corrected = average[:-1] / (1 - beta**count)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.sqrt(power[1:] / corrected)
    root = np.where(corrected > 0, root, 1.0)
    return np.concatenate([np.ones((1, norms.shape[1])), root])


def moving_average(values: Array, beta: float) -> Array:
    """Exponential moving average from zero over the first axis, without a loop a step.

    In blocks that are short enough for the weights of one block to stay in range.
    """
    if beta <= 0:
        return values.copy()
    width = max(1, min(len(values), 2000, int(200 / -np.log(beta))))
    decay = beta ** np.arange(1, width + 1)
    found = np.empty_like(values)
    last = np.zeros(values.shape[1])
    for first in range(0, len(values), width):
        block = values[first : first + width]
        own = decay[: len(block), None]
        found[first : first + width] = own * (
            last + (1 - beta) * np.cumsum(block / own, axis=0)
        )
        last = found[first + len(block) - 1]
    return found
