"""What happened around a step: series and a step come in, telling ratios go out.

The same jump of the loss has different causes: these numbers tell them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from surefoot.signatures.statistics import Array, level, ratio, root_sum_square
from surefoot.types import Floats, Series

BEFORE = 50
JUMPED = 2.0
"""Ratio to the steps before from which a learning rate or an input has jumped: twice
is beyond the variation of batches and of smooth schedules."""
SURE_JUMP = 10.0
"""Jump of the learning rate or of the input from which two signals agree: it, and the
loss. No healthy run of ours has an input ten times its usual size."""
HELD = 0.8
"""Share of the accuracy that must be left."""
REACH = 12
"""Steps before an onset in which its cause is looked for: one interval of the
periodic readings, and two steps."""


def around(series: Mapping[str, Series], onset: int) -> dict[str, float | bool]:
    """How learning rate, input and gradient changed just before an onset.

    `lr_ratio` is the largest rise of the learning rate within one step, `input_ratio`
    the largest input of the last steps over the level before, `grad_ratio` that of the
    gradient at the onset, and `restart` says
    that the learning rate rose to a height that the run had stood before.
    `accuracy_held` says that the network is right as often as before, where that is
    known: then the loss is another one, and not the labels.
    """
    lr_ratio = _abrupt(series.get("lr"), onset)
    return {
        "lr_ratio": lr_ratio,
        "input_ratio": _jump(series.get("input_absmax"), onset, _largest),
        "grad_ratio": _jump(series.get("grad_norm"), onset, root_sum_square),
        "restart": lr_ratio > 1.5 and _stood_before(series["lr"], onset),
        "accuracy_held": _accuracy_held(series.get("accuracy"), onset),
    }


def _largest(rows: Floats) -> Array:
    """The largest value of each row, -inf where there is none."""
    values = rows.astype(np.float64)
    return np.where(np.isnan(values), -np.inf, values).max(axis=1, initial=-np.inf)


def _jump(
    series: Series | None, onset: int, over_layers: Callable[[Floats], Array]
) -> float:
    """Largest value near the onset over the median of the steps before; 1 if flat."""
    if series is None:
        return 1.0
    bounds = (onset - REACH - BEFORE, onset - REACH, onset + 2)
    first, middle, last = np.searchsorted(series.steps, bounds)
    before = over_layers(series.values[first:middle])
    near = over_layers(series.values[middle:last])
    near, before = near[np.isfinite(near)], before[np.isfinite(before)]
    if near.size == 0 or before.size == 0:
        return 1.0
    return ratio(float(near.max()), level(before))


def _abrupt(rates: Series | None, onset: int) -> float:
    """Largest rise from one step to the next near an onset; a warm-up has none."""
    if rates is None:
        return 1.0
    first, last = np.searchsorted(rates.steps, (onset - REACH, onset + 2))
    near = _largest(rates.values[max(0, first - 1) : last])
    near = near[np.isfinite(near) & (near > 0)]
    return float((near[1:] / near[:-1]).max(initial=1.0))


def _accuracy_held(right: Series | None, onset: int) -> bool:
    """Whether the training accuracy after an onset is that of before."""
    if right is None:
        return False
    before, after = right.values[right.steps < onset], right.values[right.steps > onset]
    if before.size == 0 or after.size == 0:
        return False
    return level(after[:3]) > HELD * level(before[-5:])


def _stood_before(rates: Series, onset: int) -> bool:
    """Whether the highest rate near the onset was reached earlier in the run."""
    middle, last = np.searchsorted(rates.steps, (onset - REACH, onset + 2))
    before, near = _largest(rates.values[:middle]), _largest(rates.values[middle:last])
    return bool(near.max(initial=0.0) <= 1.05 * before.max(initial=0.0))
