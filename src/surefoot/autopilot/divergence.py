"""Losses come in one by one, an alarm goes out when training has turned round."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """When the smoothed loss is too far above its lowest, and what is done then.

    The bound above the lowest is the largest of three: `progress` of what was won
    since the first loss, `deviations` mean deviations from the smoothed loss, and
    `first` of the scale, which is the largest of the first `opening` losses.

    Attributes:
        most: however losses differ, it is an alarm when this share of what was won is
            lost again, once `won` of the first loss was won; None for never. Else a
            run that is unstable from its beginning sets its own bound too high.
        far: so many times the scale, or what was won, above the lowest is an alarm in
            any case; None for never.
        opening: losses that make the scale. Of one alone, a run that diverges at once
            is seen at once, and a run whose first loss is small by chance is held for
            one that diverges. In one healthy fine-tuning three losses in ten were below
            a third of their mean, the first among them; all of ten are so in one run
            of 10^5.
        smooth: weight of the newest loss.
        row: how many more losses than not are above the bound, while the smoothed loss
            is above it all along, before it is an alarm: what has diverged is high at
            every batch, while a few hard batches raise a mean for long.
        loss: a single loss above this many first losses alarms, too; None for never.
        back: what the learning rate is multiplied by.
        soon, back_soon: the same within so many updates of a start or a restore: who
            diverges at once is far too fast. At 3 to 100 times the best rate, six tasks
            diverged within 10 updates; at less, after dozens.
        near: a second alarm within so many updates goes to an older state, and backs
            off twice.
        every, share, held: a state is kept after so many updates, or after this share
            of all so far if that is more: an alarm costs a twentieth of the run at
            most, and a long run copies little. The first one is held for good, and so
            many after it.
        calm: a state is kept only where the smoothed loss is below this share of the
            way from the lowest to the bound.

    Source: `benchmarks/autopilot`; the settings of our pilot study on six tasks.
    """

    progress: float = 0.2
    deviations: float = 4.0
    first: float = 0.05
    opening: int = 1
    most: float | None = 1.0
    won: float = 0.2
    far: float | None = None
    smooth: float = 0.3
    row: int = 1
    loss: float | None = 3.0
    back: float = 0.35
    soon: int = 10
    back_soon: float = 0.1
    near: int = 25
    every: int = 20
    share: float = 0.05
    held: int = 3
    calm: float = 0.3


SPREAD_SMOOTH = 0.05
SPREAD_AT_FIRST = 0.02
"""Memory of the mean deviation, and its start as a share of the first loss."""


@dataclass(frozen=True, slots=True)
class Trend:
    """How the loss went so far: the first, smoothed, at its lowest, and its spread.

    `scale` is the largest size of the losses of the opening.
    """

    first: float
    level: float
    least: float
    spread: float
    count: int = 1
    scale: float = 0.0


def begun(loss: float) -> Trend:
    """The trend of one loss."""
    return Trend(loss, loss, loss, SPREAD_AT_FIRST * abs(loss), scale=abs(loss))


def bound_of(trend: Trend, rule: Divergence) -> float:
    """The smoothed loss above which training counts as diverging.

    >>> bound_of(Trend(first=2.0, level=1.0, least=1.0, spread=0.01), Divergence())
    1.2
    """
    won, scale = max(trend.first - trend.least, 0.0), max(abs(trend.first), trend.scale)
    slack = max(rule.progress * won, rule.deviations * trend.spread, rule.first * scale)
    if rule.most is not None and won > rule.won * scale:
        slack = min(slack, rule.most * won)
    if rule.far is not None and scale + won > 0:
        slack = min(slack, rule.far * max(scale, won))
    return trend.least + slack


def followed(trend: Trend, loss: float, rule: Divergence) -> Trend:
    """The trend with one more loss; the spread does not learn from an alarm."""
    level = (1 - rule.smooth) * trend.level + rule.smooth * loss
    spread = trend.spread
    if level <= bound_of(trend, rule):
        # The first losses count in full: how much they differ is not known yet.
        newest = max(SPREAD_SMOOTH, 1 / (trend.count + 1))
        spread = (1 - newest) * spread + newest * abs(loss - trend.level)
    opening = trend.count < rule.opening
    return replace(
        trend,
        level=level,
        least=min(trend.least, level),
        spread=spread,
        count=trend.count + 1,
        scale=max(trend.scale, abs(loss)) if opening else trend.scale,
    )


def spacing(step: int, rule: Divergence) -> int:
    """Updates between two states that are kept.

    >>> [spacing(step, Divergence()) for step in (0, 400, 1000)]
    [20, 20, 50]
    """
    return max(rule.every, int(rule.share * step))


def calm(trend: Trend, rule: Divergence) -> bool:
    """Whether the loss is low enough for a state worth going back to."""
    slack = rule.calm * (bound_of(trend, rule) - trend.least)
    return trend.level <= trend.least + slack + 1e-9
