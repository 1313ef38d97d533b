"""The ratio of Adam's moments comes in; an alarm goes out when training stands still.

For gradients of pure noise the first moment over the root of the second has an RMS of
√((1 − β₁)/(1 + β₁)), 0.23 for 0.9. Far below it, the second moment remembers much
longer gradients than there are now, of an early overshoot or of a bad batch, and every
update is tiny: the loss looks calm, and training crawls.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenMoments:
    """When the moments count as frozen, and what is done then.

    Attributes:
        below: the smoothed ratio over that of pure noise which alarms. Good rates
            showed 0.7 to 1.3, stalled transformers 0.15 to 0.2.
        hold: updates after a start or a restore before it is judged.
        fade: armed only while the schedule's rate is above this share of its highest:
            an alarm late in a run costs the run.
        early: an alarm before this update goes back to the very start: nothing before
            it is known to be sound.
        keep: no state is kept below this ratio, as it would freeze again.
        cap: largest change of a tensor in one update, over its own norm, after the
            first alarm.
        back: what the learning rate is multiplied by after a further one.
        smooth: weight of the newest ratio, for each update since the last one.

    Source: `benchmarks/autopilot`; the settings of our pilot study on six tasks.
    """

    below: float = 0.33
    hold: int = 8
    fade: float = 0.75
    early: int = 64
    keep: float = 0.65
    cap: float = 0.02
    back: float = 0.316
    smooth: float = 0.2


@dataclass(frozen=True, slots=True)
class Moments:
    """What is known of the moments: their ratio smoothed, and since when.

    `since` counts updates since the start or the last restore, `at` is the step of
    the last ratio, `cap` the limit in force; `off` once an alarm was undone.
    """

    ratio: float | None = None
    since: int = 0
    at: int = 0
    cap: float | None = None
    off: bool = False


def seen(
    moments: Moments, step: int, noise: float | None, *, rule: FrozenMoments
) -> Moments:
    """The moments after one more update, with a ratio where it was measured."""
    moments = replace(moments, since=moments.since + 1)
    if noise is None:
        return moments
    if moments.ratio is None:
        return replace(moments, ratio=noise, at=step)
    kept = (1 - rule.smooth) ** max(1, step - moments.at)
    return replace(moments, ratio=kept * moments.ratio + (1 - kept) * noise, at=step)


def is_frozen(moments: Moments, fade: float, rule: FrozenMoments) -> bool:
    """Whether training crawls because of what the second moment remembers."""
    return (
        not moments.off
        and moments.ratio is not None
        and moments.since > rule.hold
        and moments.ratio < rule.below
        and fade >= rule.fade
    )


def worth_keeping(moments: Moments, rule: FrozenMoments) -> bool:
    """Whether a state with these moments is worth going back to."""
    return moments.ratio is None or moments.ratio > rule.keep
