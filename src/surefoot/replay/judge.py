"""What each branch did: outcomes come in, verdicts go out.

All branches are measured against the branch without updates, on the same batches: what
a batch costs by itself is the same in both, and what is left is the work of the
updates. A healthy update makes this difference negative.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

from surefoot.record.replays import Word
from surefoot.replay.outcome import Outcome
from surefoot.replay.window import Window

SLACK = 0.5
"""Share of the loss by which updates may make it worse without harm."""

MOST = 4.0
"""And as far as the highest loss before the onset, at most to five times the median: a
small loss swings by more than its size from batch to batch."""

ALONE = 8.0
"""An end that some of the batches do not show to be worse counts from nine times the
usual loss on: on the zoo's even seeds one measure alone rose by 4.5 in a healthy run,
by 15.8 at least where data had changed. A rise that is over by the end counts as none:
the run has recovered by itself."""

TAIL = 6
"""Last steps that the end of a branch is judged by."""

LATER = 3
"""Steps later that a harm must begin to be called delayed."""

PART, HUGE = 0.2, 1e3
"""A change prevented a harm that is a fifth of it at most, in orders of magnitude; so a
loss of 0.02 that would have gone to 20 may go to 0.08. A number that is none counts as
three orders of magnitude."""

LESS = 0.5
"""A harm of less than half is called lessened; one of twice as much, worse."""


@dataclass(frozen=True, slots=True)
class Harm:
    """How much worse the updates of a branch made the loss than none would have.

    `size` is a share of the loss without updates, infinite where a number is none;
    `since` is the step from which it lasts, None where there is no harm.
    """

    size: float
    since: int | None

    @property
    def done(self) -> bool:
        """Whether there is any."""
        return self.since is not None


def harm(
    branch: Outcome,
    still: Outcome,
    window: Window,
    *,
    noise: float = 0.0,
    least: float = 0.0,
) -> Harm:
    """The harm that a branch did by its end, against the branch without updates.

    `noise` is the largest share by which a replay departs from itself; a harm below
    `least` is none.
    """
    level, swing = _usual(still, window)
    most = max(SLACK + 3 * noise, least, min(swing, MOST))
    steps = range(window.first, window.first + len(branch.losses))
    pairs = zip(steps, branch.losses, still.losses, strict=False)
    rows = [
        (step, _worse(now, without, level))
        for step, now, without in pairs
        if step >= window.onset
    ]
    end = _at_end(branch, still, level, [size for _, size in rows[-TAIL:]])
    sure = most if min(end) > SLACK or len(end) == 1 else max(most, ALONE)
    size = math.inf if branch.ended else max(end)
    if size <= sure:
        return Harm(0.0, None)
    since = next((step for step, one in rows if one > most), window.last)
    return Harm(size, since)


def _at_end(
    branch: Outcome, still: Outcome, level: float, tail: Sequence[float]
) -> list[float]:
    """How much worse the end is: on the last batches, set aside, and held out."""
    found = [median(tail)] if tail else [0.0]
    if not math.isnan(still.aside):
        found.append(_worse(branch.aside, still.aside, level))
    if not math.isnan(still.held_out):
        found.append(_worse(branch.held_out, still.held_out, 0.0))
    return found


def words(
    branches: Sequence[Outcome],
    unchanged: Outcome,
    still: Outcome,
    *,
    window: Window,
    noise: float = 0.0,
) -> list[Word]:
    """The verdict on each branch, against the unchanged one."""  # fmt: skip
    before = harm(unchanged, still, window, noise=noise)
    after = partial(
        harm,
        still=still,
        window=window,
        noise=noise,
        least=math.expm1(PART * math.log1p(min(before.size, HUGE))),
    )
    return [
        word(after(one), before)
        if not one.refused and one.losses
        else ("does not apply" if one.refused else "not finished")
        for one in branches
    ]


def word(after: Harm, before: Harm) -> Word:
    """What a change did, from the harm with and without it.

    >>> word(Harm(0.0, None), Harm(9.0, 120)), word(Harm(9.0, 140), Harm(9.0, 120))
    ('prevented', 'delayed')
    """
    if not after.done:
        return "prevented" if before.done else "no effect"
    if not before.done:
        return "worse"
    since, then = after.since or 0, before.since or 0
    if after.size > before.size / LESS + SLACK:
        return "worse"
    if since >= then + LATER:
        return "delayed"
    if after.size < LESS * before.size:
        return "lessened"
    return "no effect"


def last_loss(outcome: Outcome) -> float:
    """The median loss of the last steps; NaN where most of them are no numbers."""
    tail = outcome.losses[-TAIL:]
    finite = [one for one in tail if math.isfinite(one)]
    return median(finite) if 2 * len(finite) > len(tail) else math.nan


def _worse(now: float, without: float, level: float) -> float:
    """How much worse a loss is than without updates, as a share of what is usual."""
    if not math.isfinite(now):
        return math.inf if math.isfinite(without) else 0.0
    if not math.isfinite(without):
        return 0.0
    return (now - without) / max(abs(without), level, 1e-12)


def _usual(still: Outcome, window: Window) -> tuple[float, float]:
    """The median loss of calm steps, and how far the highest lies above, as a share."""
    calm = still.losses[: window.onset - window.first]
    calm = [one for one in calm if math.isfinite(one)]
    if len(calm) < TAIL:
        return 0.0, 0.0
    middle = max(abs(median(calm)), 1e-12)
    return middle, (max(calm) - median(calm)) / middle
