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
        steady, spreads: a smoothed cosine above this raises, too, if it is more than
            so many mean deviations. At the best rates of five tasks the cosine was at
            most 0.035, and 0.9 of its mean deviation; at lower ones it was small, but
            steady.
        early, above_early, above_plain: up to which update, and above which cosine,
            gradients agree at any rate; the last without second moments, where they
            agree more: 0.23 at the best rate, 0.44 at a third of it.
        fade: no raise while the schedule's rate is below this share of its highest: a
            rate that falls on purpose shows gradients that agree, too.
        below: a smoothed cosine below this takes a raise back.
        speed, speed_early: growth for each update: exp(speed × cosine).
        fastest: most of the growth of one update without second moments. What a longer
            step does shows as late as momentum turns, ten updates on: at a fifth each a
            net of 12 layers of tanh was at thirty times its rate before it showed.
        smooth: weight of the newest cosine, for each update since the last one.
        pause: updates after an alarm without a raise.
        most: the highest factor of all.
        cut: what remains of the factor after an alarm, which is its ceiling then.
        patience: updates for which gradients have to agree at the ceiling before it is
            doubled: the alarm that set it may have been a false one.
        regrow, regrow_soon: how far the rate may rise again after divergence.

    Source: `benchmarks/autopilot`; the settings of our pilot study on six tasks.
    """

    above: float = 0.06
    steady: float = 0.03
    spreads: float = 1.25
    above_early: float = 0.1
    above_plain: float = 0.3
    early: int = 20
    fade: float = 0.5
    below: float = 0.0
    speed: float = 0.6
    speed_early: float = 0.3
    fastest: float = 0.1
    smooth: float = 0.2
    pause: int = 20
    most: float = 1e4
    cut: float = 0.5
    patience: int = 20
    regrow: float = 2.0
    regrow_soon: float = 5.0


LONGEST = 8
"""Updates that one cosine may stand for: twice as many as between two looks."""


@dataclass(frozen=True, slots=True)
class Climb:
    """How far the rate was raised: the factor, and what it goes by.

    `spread` is the mean deviation of the cosines, `at` the step of the last one,
    `until` the end of a pause, `pressed` for how many updates the ceiling kept it from
    a raise.
    """

    factor: float = 1.0
    cosine: float = 0.0
    spread: float = 0.0
    ceiling: float | None = None
    at: int = 0
    until: int = 0
    pressed: int = 0


def climbed(
    climb: Climb,
    step: int,
    cosine: float | None,
    *,
    rule: Raising,
    fade: float = 1.0,
    adaptive: bool = True,
) -> Climb:
    """The climb after one more update, with a cosine where it was measured.

    `adaptive` says that updates go by second moments, as Adam's do.

    >>> round(climbed(Climb(), 4, 1.0, rule=Raising()).factor, 2)
    2.03
    """
    if cosine is None or not math.isfinite(cosine):
        return climb
    passed = min(max(1, step - climb.at), LONGEST)
    kept = (1 - rule.smooth) ** passed
    level = kept * climb.cosine + (1 - kept) * cosine
    spread = kept * climb.spread + (1 - kept) * abs(cosine - climb.cosine)
    climb = replace(climb, cosine=level, spread=spread, at=step)
    if step <= climb.until:
        return climb
    early = step < rule.early
    bar = max(rule.steady, min(rule.above, rule.spreads * spread))
    if early:
        bar = rule.above_early if adaptive else rule.above_plain
    speed = rule.speed_early if early else rule.speed
    growth = speed * level if adaptive else min(speed * level, rule.fastest)
    grown = climb.factor * math.exp(passed * growth)
    if level > bar and fade >= rule.fade:
        return _risen(climb, grown, passed, rule)
    return replace(climb, factor=max(1.0, grown)) if level < rule.below else climb


def _risen(climb: Climb, grown: float, passed: int, rule: Raising) -> Climb:
    """As high as the ceiling lets it; one that is pressed for long gives way."""
    ceiling = climb.ceiling
    if ceiling is None or grown <= ceiling:
        top = min(grown, rule.most)
        return replace(climb, factor=top, pressed=0)
    pressed = climb.pressed + passed
    if pressed < rule.patience:
        return replace(climb, factor=ceiling, pressed=pressed)
    return replace(climb, factor=ceiling, ceiling=2 * ceiling, pressed=0)


def fallen(climb: Climb, step: int, rule: Raising) -> Climb:
    """The climb after an alarm: lower, and with a ceiling."""
    ceiling = max(1.0, rule.cut * climb.factor)
    return Climb(
        factor=min(climb.factor, ceiling),
        ceiling=ceiling,
        at=step,
        until=step + rule.pause,
    )
