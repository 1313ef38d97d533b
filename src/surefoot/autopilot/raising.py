"""Cosines of gradients with the update before come in, a factor of the rate goes out.

Where each gradient goes on pointing the way the last update went, updates could be
longer; where it points back, they are too long already.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Raising:
    """How the learning rate is raised.

    Attributes:
        above: a smoothed cosine above this raises. A third of the best rate showed
            0.11 to 0.13, the best one within 0.05 of zero.
        above_early, early: the same for the first updates, in which gradients agree at
            any rate.
        fade: no raise while the schedule's rate is below this share of its highest: a
            rate that falls on purpose shows gradients that agree, too.
        below: a smoothed cosine below this takes a raise back.
        speed: growth for each update: exp(speed × cosine).
        smooth: weight of the newest cosine, for each update since the last one.
        pause: updates after an alarm without a raise.
        most: the highest factor of all.
        cut: what remains of the factor after an alarm; it is never exceeded again.
        regrow, regrow_soon: how far the rate may rise again after divergence.

    Source: `benchmarks/autopilot`; the settings of our pilot study on six tasks.
    """

    above: float = 0.06
    above_early: float = 0.1
    early: int = 20
    fade: float = 0.5
    below: float = 0.0
    speed: float = 0.3
    smooth: float = 0.2
    pause: int = 20
    most: float = 1e4
    cut: float = 0.5
    regrow: float = 2.0
    regrow_soon: float = 5.0


@dataclass(frozen=True, slots=True)
class Climb:
    """How far the rate was raised: the factor, and what it goes by.

    `at` is the step of the last cosine, `until` the end of a pause.
    """

    factor: float = 1.0
    cosine: float = 0.0
    ceiling: float | None = None
    at: int = 0
    until: int = 0


def climbed(
    climb: Climb, step: int, cosine: float | None, *, rule: Raising, fade: float = 1.0
) -> Climb:
    """The climb after one more update, with a cosine where it was measured.

    >>> round(climbed(Climb(), 4, 1.0, rule=Raising()).factor, 2)
    2.03
    """
    if cosine is None or not math.isfinite(cosine):
        return climb
    passed = max(1, step - climb.at)
    kept = (1 - rule.smooth) ** passed
    level = kept * climb.cosine + (1 - kept) * cosine
    climb = replace(climb, cosine=level, at=step)
    if step <= climb.until:
        return climb
    grown = climb.factor * math.exp(rule.speed * passed * level)
    bar = rule.above_early if step < rule.early else rule.above
    if level > bar and fade >= rule.fade:
        top = rule.most if climb.ceiling is None else climb.ceiling
        return replace(climb, factor=min(grown, top))
    return replace(climb, factor=max(1.0, grown)) if level < rule.below else climb


def fallen(climb: Climb, step: int, rule: Raising) -> Climb:
    """The climb after an alarm: lower, and never as high again."""
    ceiling = max(1.0, rule.cut * climb.factor)
    return Climb(
        factor=min(climb.factor, ceiling),
        ceiling=ceiling,
        at=step,
        until=step + rule.pause,
    )
