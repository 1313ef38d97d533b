"""Did it help: a metric with and without a remedy comes in, a Verdict goes out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from surefoot.signatures.statistics import t_limit
from surefoot.types import Prescription, Verdict


def verdict(
    prescription: Prescription,
    metric: str,
    *,
    seeds: Sequence[int],
    baseline: Sequence[float],
    treated: Sequence[float],
    higher_is_better: bool = True,
) -> Verdict:
    """Paired comparison of a remedy with doing nothing, seed by seed.

    The interval is Student's for the mean of the paired differences. A run that
    ended without a finite metric counts as the worst value seen in either arm.

    Raises:
        ValueError: fewer than two seeds, or arms of different length.

    >>> from surefoot.types import Prescription
    >>> remedy = Prescription("he init", (), "", "")
    >>> v = verdict(remedy, "accuracy", seeds=(0, 1, 2),
    ...             baseline=(0.1, 0.1, 0.1), treated=(0.9, 0.8, 1.0))
    >>> round(v.effect, 3), v.held
    (0.8, True)
    """
    if not len(seeds) == len(baseline) == len(treated) or len(seeds) < 2:
        raise ValueError(
            f"{len(seeds)} seeds, {len(baseline)} baseline and {len(treated)} treated "
            "values came; expected the same number of each, two at least; run more "
            "seeds"
        )
    before, after = _finite(baseline, treated, higher_is_better)
    difference = (after - before) * (1 if higher_is_better else -1)
    mean = float(difference.mean())
    error = float(difference.std(ddof=1)) / math.sqrt(len(difference))
    reach = t_limit(len(difference) - 1) * error
    return Verdict(
        prescription=prescription,
        metric=metric,
        seeds=tuple(seeds),
        baseline=tuple(float(value) for value in baseline),
        treated=tuple(float(value) for value in treated),
        effect=mean,
        interval=(mean - reach, mean + reach),
        held=mean - reach > 0,
    )


def _finite(
    baseline: Sequence[float], treated: Sequence[float], higher: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Both arms with the worst value seen in place of what is not finite."""
    arms = np.asarray([baseline, treated], dtype=float)
    seen = arms[np.isfinite(arms)]
    if seen.size == 0:
        raise ValueError(
            "no run of either arm ended with a finite metric; expected at least one; "
            "check the metric's name and the script"
        )
    worst = seen.min() if higher else seen.max()
    arms = np.where(np.isfinite(arms), arms, worst)
    return arms[0], arms[1]
