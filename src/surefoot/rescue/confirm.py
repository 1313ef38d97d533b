"""A repair on other seeds: what helped once comes in, a Verdict goes out."""

from __future__ import annotations

import math
from collections.abc import Sequence

from surefoot.experiments.verdict import verdict
from surefoot.rescue.attempt import Attempt, Measure, Plan, Trainer
from surefoot.rescue.judge import TRAINING_LOSS, end_loss
from surefoot.rescue.rescue import Rescue
from surefoot.rescue.search import Tell
from surefoot.types import Prescription, Verdict


def confirmed(
    found: Rescue, trainers: Sequence[Trainer], *, tell: Tell = lambda text: None
) -> Verdict:
    """Train each seed as it is and repaired; the first seed is the rescue's own.

    The remedy was chosen on the first seed, the others only judge it.

    Raises:
        ValueError: the rescue repaired nothing, or no run gave a number.
    """
    if found.best is None:
        raise ValueError(
            f"a rescue that ended with {found.ending!r} came; expected one that "
            "repaired its run"
        )
    plan, measure = found.best.attempt.plan, found.measure
    pairs = [(found.first, found.best.attempt)]
    for place, trainer in enumerate(trainers, start=1):
        tell(f"verifying on seed {place} of {len(trainers)}")
        pairs.append((trainer.attempt(Plan()), trainer.attempt(plan)))
    remedy = Prescription(found.best.name, plan.changes, "", "")
    return verdict(
        remedy,
        measure.name,
        seeds=range(len(pairs)),
        baseline=[_value(one, measure) for one, _ in pairs],
        treated=[_value(other, measure) for _, other in pairs],
        higher_is_better=measure.higher_is_better,
    )


def _value(attempt: Attempt, measure: Measure) -> float:
    if measure.name == TRAINING_LOSS:
        return end_loss(attempt.losses)
    return math.nan if attempt.metric is None else attempt.metric
