"""What a run logs comes in, what regularisation should do goes out: pure decisions.

Two kinds of evidence: the gap between held-out and training loss, and the curvature
beside the line at which the optimizer becomes unstable.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import median

from surefoot.autopilot.lever import Side

STALLED = 0.01
"""Part of its best by which a held-out loss has to fall, or it got no better: half of
what the held-out losses of healthy runs change by chance (benchmarks/zoo, overfitting,
asks for 2 %)."""

GAP_HIGH = 0.3
GAP_LOW = 0.05
"""Parts of a held-out loss by which the training loss lies below it: beyond the first a
model that gets no better on held-out data fits what does not generalise, below the
second it fits too little. Chosen on digits with few examples and with wrong labels,
even seeds (tests/autopilot/test_regularisation.py holds odd ones)."""

RISEN = 0.1
"""Part of its best by which a held-out loss lies above it where a model has begun to
fit what does not generalise, whatever the gap: with wrong labels the training loss is
the higher one."""

UNSTABLE = 1.0
CALM = 0.5
"""Curvature over the line beyond which a quadratic diverges, 2 / learning rate for
gradient descent: Cohen et al. 2021, arXiv:2103.00065; below half of it training does
not feel it."""

CURVATURES = 3
"""Readings of which the median is taken: one batch's curvature is noisy."""


@dataclass(frozen=True, slots=True)
class Course:
    """What was heard of a run so far: levels, not histories; JSON values only."""

    training: float = math.nan
    best: float = math.inf
    held_out: float = math.nan
    curvatures: tuple[float, ...] = ()


def after_training(course: Course, loss: float, *, keep: float = 0.8) -> Course:
    """A course after one more training loss, which is averaged over about five.

    >>> after_training(after_training(Course(), 1.0), 2.0).training
    1.2
    """
    if not math.isfinite(loss):
        return course
    known = math.isfinite(course.training)
    level = keep * course.training + (1 - keep) * loss if known else loss
    return replace(course, training=level)


def after_held_out(course: Course, loss: float) -> tuple[Course, Side]:
    """A course after one more held-out loss, and what the gap asks for.

    Stronger where the held-out loss has risen, or gets no better while the training
    loss lies far below it; weaker where it gets no better and both are alike.

    >>> course = after_training(Course(), 0.2)
    >>> course, first = after_held_out(course, 1.0)
    >>> course, second = after_held_out(course, 1.1)
    >>> first, second
    (0, 1)
    """
    if not math.isfinite(loss):
        return course, 0
    better = loss < course.best - STALLED * abs(course.best)
    best = min(course.best, loss)
    if math.isinf(course.best):
        better = True
    after = replace(course, best=best, held_out=loss)
    gap = gap_of(after)
    if better or math.isnan(gap):
        return after, 0
    risen = loss > best + RISEN * abs(best)
    if risen or gap > GAP_HIGH:
        return after, 1
    return after, -1 if gap < GAP_LOW else 0


def gap_of(course: Course) -> float:
    """(held-out - training) / held-out; NaN where one is unknown or not positive."""
    if not (course.held_out > 0 and math.isfinite(course.training)):
        return math.nan
    return (course.held_out - course.training) / course.held_out


def after_curvature(course: Course, ratio: float) -> tuple[Course, Side, float]:
    """A course after one more stability ratio; what it asks for, and the level.

    >>> course = Course()
    >>> for ratio in (0.4, 1.6, 1.5):
    ...     course, side, level = after_curvature(course, ratio)
    >>> side, level
    (1, 1.5)
    """
    if not math.isfinite(ratio):
        return course, 0, math.nan
    kept = (*course.curvatures, ratio)[-CURVATURES:]
    level = median(kept)
    after = replace(course, curvatures=kept)
    if len(kept) < CURVATURES:
        return after, 0, level
    return after, 1 if level > UNSTABLE else -1 if level < CALM else 0, level
