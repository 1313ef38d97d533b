"""What a run is like, whatever its state: series come in, a few numbers go out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from surefoot.types import Series

RISE = 2.0
"""Growth of the learning rate from its first value that makes a warm-up."""


def traits(series: Mapping[str, Series]) -> dict[str, float]:
    """Numbers that tell look-alikes apart.

    `steps` made; `warm_up` 1 if the learning rate rose at the start; `inputs_seen` 1
    if the inputs are numbers whose size was recorded, and not tokens.
    """
    return {
        "steps": float(
            max(
                (one.steps[-1] + 1 for one in series.values() if one.steps.size),
                default=0,
            )
        ),
        "warm_up": float(_warmed_up(series.get("lr"))),
        "inputs_seen": float("input_std" in series),
    }


def _warmed_up(rates: Series | None) -> bool:
    """Whether the highest rate of the run is well above the first one."""
    if rates is None or rates.steps.size == 0:
        return False
    highest = np.nanmax(np.where(np.isnan(rates.values), 0, rates.values), axis=1)
    rising = int(np.argmax(highest))
    steady = bool((np.diff(highest[: rising + 1]) >= 0).all()) and rising > 2
    return bool(highest.max() > RISE * highest[0]) and steady
