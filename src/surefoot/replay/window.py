"""Which steps are replayed: an incident comes in, a Window goes out.

    first ......... parting .... onset ............... last
    as recorded     | branches part, each with one change |

The batches before the branches part are the same for all; some of them are set aside
to measure all branches on the same data afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from surefoot.blackbox.incident import Incident, StepRecord
from surefoot.replay.errors import ReplayError

LEAD = 8
"""Steps before the onset at which branches part: enough for a clip or a shorter memory
to know what is usual, few enough that a lower rate costs no progress."""

ASIDE = 6
"""Batches that all branches are measured on afterwards."""

TIMES = 3.0
"""A learning rate that is multiplied by this within one step has jumped: schedules
move by a few percent a step, a drop by ten is no jump upwards."""


HISTORY = 30
JUMPED_SPREADS = 8.0
"""A loss that is more than doubled, and eight median absolute deviations (5.4 standard
deviations of a normal distribution) above the median of up to thirty steps before. And
half way to the worst loss, in orders of magnitude: late in training a hard batch costs
many times the usual loss, and does no harm."""

REACH = 100
"""Steps after the onset that are replayed: enough to see whether a harm lasts, and few
enough that an alarm that came late does not keep the verdict waiting."""


@dataclass(frozen=True, slots=True)
class Window:
    """Steps of the recorded run: `last` is the last one that is replayed."""

    first: int
    parting: int
    onset: int
    last: int
    aside: tuple[int, ...] = ()

    @property
    def steps(self) -> int:
        """How many steps are replayed."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class Jump:
    """A learning rate that was multiplied by a factor at a step, and stayed there."""

    step: int
    factor: float


def replayed_steps(incident: Incident) -> tuple[StepRecord, ...]:
    """The recorded steps from the last good state on, without a gap.

    Raises:
        ReplayError: there is none.
    """
    rows = [one for one in incident.steps if one.step >= incident.state.step]
    whole: list[StepRecord] = []
    for row in rows:
        if (whole and row.step != whole[-1].step + 1) or not row.micro:
            break
        whole.append(row)
    if not whole or whole[0].step != incident.state.step:
        came = f"step {rows[0].step}" if rows else "no step"
        raise ReplayError(
            f"the incident holds {came} with its batches after the state of step "
            f"{incident.state.step}; expected the step that follows the state; record "
            "with a larger budget, as in blackbox='1GB'"
        )
    return tuple(whole)


def window_of(
    incident: Incident, steps: Sequence[StepRecord], strange: Sequence[int] = ()
) -> Window:
    """The window of an incident: `strange` are steps whose batches are unlike others.

    The onset is the earliest sign there is: the alarm's own, a loss or a gradient that
    is no number, a rate that jumped, a strange batch, a loss far above those before.
    """
    first, last = steps[0].step, steps[-1].step
    broken = broken_steps(steps)
    jump = rate_jump(steps)
    signs = [*broken[:1], *strange[:1], *([jump.step] if jump else [])]
    signs += [one for one in (loss_jump(steps),) if one is not None]
    # An alarm's own onset is a bound where nothing is known: after an exception.
    told = incident.onset >= first + LEAD or not signs
    onset = min([*signs, incident.onset] if told else signs)
    onset = min(max(onset, first), last)
    parting = max(first, onset - LEAD)
    before = [one.step for one in steps if one.step < parting] or [
        one.step for one in steps if one.step < onset
    ]
    last = min(last, max(onset, incident.onset) + REACH)
    return Window(first, parting, onset, last, tuple(before[-ASIDE:]))


def shortened(window: Window, steps: int) -> Window:
    """The window of a script that makes no more than so many updates.

    Raises:
        ReplayError: it ends before the onset.

    >>> shortened(Window(0, 12, 20, 99, (10, 11)), 60).last
    57
    """
    last = window.first + steps - 1 - len(window.aside)
    if last > window.onset:
        return replace(window, last=last)
    last = window.first + steps - 1
    if last < window.onset:
        raise ReplayError(
            f"the script makes {steps} updates after its first; expected "
            f"{window.onset - window.first + 1} at least, from the recorded step "
            f"{window.first} to the onset at {window.onset}; give it the arguments "
            "with which it trains longer"
        )
    return replace(window, last=last, aside=())


def rate_jump(steps: Sequence[StepRecord]) -> Jump | None:
    """The first jump of a learning rate above all that it was before, if there is one.

    A rate that was zero, as at the start of a warm-up, is no measure of a jump.
    """
    highest: dict[tuple[str, int], float] = {}
    for one in steps:
        now = {(n, k): r for n, rates in one.rates.items() for k, r in enumerate(rates)}
        times = [rate / highest[key] for key, rate in now.items() if highest.get(key)]
        if max(times, default=0.0) >= TIMES:
            return Jump(one.step, max(times))
        highest |= {k: max(rate, highest.get(k, 0.0)) for k, rate in now.items()}
    return None


def loss_jump(steps: Sequence[StepRecord]) -> int | None:
    """The first step whose recorded loss is far above all before; None if none is."""
    losses = [sum(one.losses) / max(len(one.losses), 1) for one in steps]
    worst = max(filter(math.isfinite, losses), default=0.0)
    for place in range(LEAD, len(losses)):
        before = losses[max(0, place - HISTORY) : place]
        level = median(before)
        spread = median([abs(one - level) for one in before])
        far = losses[place] >= math.sqrt(max(level, 0.0) * max(worst, 0.0))
        if far and losses[place] - level > max(JUMPED_SPREADS * spread, abs(level)):
            return steps[place].step
    return None


def usual_norm(steps: Sequence[StepRecord], window: Window) -> float:
    """The median length of the gradient before the onset; NaN if none is known."""
    norms = [one.grad_norm for one in steps if one.step < window.onset]
    norms = [one for one in norms if math.isfinite(one) and one > 0]
    return median(norms) if norms else math.nan


def broken_steps(steps: Sequence[StepRecord]) -> list[int]:
    """Steps with a loss or a gradient that is no number.

    The length of a gradient is NaN too where nothing measures it: then it is so at
    every step, and says nothing.
    """
    measured = any(math.isfinite(one.grad_norm) for one in steps)
    return [
        one.step
        for one in steps
        if not all(map(math.isfinite, one.losses))
        or (measured and not math.isfinite(one.grad_norm))
    ]
