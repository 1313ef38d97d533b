"""What happened around a step: series and a step come in, telling ratios go out.

The same jump of the loss has different causes: these numbers tell them apart.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from surefoot.signatures.statistics import Array, level, ratio, root_sum_square
from surefoot.types import Series, Steps

BEFORE = 50
JUMPED = 2.0
"""Ratio to the steps before from which a learning rate or an input has jumped: twice
is beyond the variation of batches and of smooth schedules."""
SURE_JUMP = 10.0
"""Jump of the learning rate or of the input from which two signals agree: it, and the
loss. No healthy run of ours has an input ten times its usual size."""
REACH = 12
"""Steps before an onset in which its cause is looked for: one interval of the
periodic readings, and two steps."""


def around(series: Mapping[str, Series], onset: int) -> dict[str, float | bool]:
    """How learning rate, input and gradient changed just before an onset.

    `lr_ratio` and `input_ratio` are the largest value of the last steps over the
    level before, `grad_ratio` that of the gradient at the onset, and `restart` says
    that the learning rate rose to a height that the run had stood before.
    """
    rate = largest(series.get("lr"))
    size = largest(series.get("input_absmax"))
    grads = series.get("grad_norm")
    grad = None if grads is None else (grads.steps, root_sum_square(grads.values))
    lr_ratio = _jump(rate, onset)
    return {
        "lr_ratio": lr_ratio,
        "input_ratio": _jump(size, onset),
        "grad_ratio": _jump(grad, onset),
        "restart": lr_ratio > 1.5 and _stood_before(rate, onset),
    }


def largest(series: Series | None) -> tuple[Steps, Array] | None:
    """Steps and the largest value over all layers, NaN where there is none."""
    if series is None or series.steps.size == 0:
        return None
    values = np.where(np.isnan(series.values), -np.inf, series.values).astype(
        np.float64
    )
    return series.steps, values.max(axis=1)


def _jump(line: tuple[Steps, Array] | None, onset: int) -> float:
    """Largest value near the onset over the median of the steps before; 1 if flat."""
    if line is None:
        return 1.0
    steps, values = line
    near = values[(steps >= onset - REACH) & (steps <= onset + 1)]
    before = values[(steps < onset - REACH) & (steps >= onset - REACH - BEFORE)]
    near, before = near[np.isfinite(near)], before[np.isfinite(before)]
    if near.size == 0 or before.size == 0:
        return 1.0
    return ratio(float(near.max()), level(before))


def _stood_before(line: tuple[Steps, Array] | None, onset: int) -> bool:
    """Whether the highest rate near the onset was reached earlier in the run."""
    if line is None:
        return False
    steps, values = line
    near = values[(steps >= onset - REACH) & (steps <= onset + 1)]
    before = values[steps < onset - REACH]
    if near.size == 0 or before.size == 0:
        return False
    return bool(near.max() <= 1.05 * before.max())
