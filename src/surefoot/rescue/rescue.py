"""A training that may fail comes in; one that does not goes out, or why there is none.

Train, examine, try what could help beside what was there, and train with what did.
The user's own run is never touched: every attempt is a training of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from surefoot.rescue.attempt import Attempt, Measure, Plan, Trainer
from surefoot.rescue.candidates import alarming, candidates, out_of_reach, unasked
from surefoot.rescue.judge import TRAINING_LOSS, gain, judged_by
from surefoot.rescue.search import BUDGET, Search, Tell, Tried
from surefoot.types import Diagnosis

Ending = Literal["healthy", "improved", "repaired", "out of reach", "no remedy helped"]

UNASKED = 2.0
"""How many times the least gain a run without an alarm must win before it is changed:
nothing speaks for the change but the number by which it was chosen."""


@dataclass(frozen=True, slots=True)
class Rescue:
    """What a rescue came to; "improved" is a run that raised no alarm.

    `first` is the run as the user wrote it, the do-nothing branch; `best` the attempt
    that helped, None if there is none. `spent` is what was spent on top of `first`, in
    lengths of the run, `gain` what it bought in the unit of `measure`, `cause` the
    likeliest.
    """

    ending: Ending
    first: Attempt
    measure: Measure
    cause: Diagnosis | None = None
    best: Tried | None = None
    tried: tuple[Tried, ...] = ()
    spent: float = 0.0
    gain: float = 0.0


def rescue(
    trainer: Trainer,
    *,
    budget: float = BUDGET,
    search: bool = True,
    tell: Tell = lambda text: None,
) -> Rescue:
    """Train; if the run is not healthy, find what helps, and train with that.

    Args:
        trainer: trains from scratch under a plan, from the same seed each time.
        budget: what may be spent on top of the run itself, in lengths of it.
        search: whether a run without an alarm is asked for a better step size too;
            never without a held-out number, as a lower training loss is no proof.
        tell: hears what is done next.

    Raises:
        ValueError: the budget is less than one whole attempt.
    """
    if not budget >= 1:
        raise ValueError(
            f"the budget came as {budget:g}; expected 1 or more: a remedy is verified "
            "in a whole run"
        )
    tell("training as it is")
    first = trainer.attempt(Plan())
    found = alarming(first.diagnoses)
    cause = found[0] if found else None
    measure = judged_by((first,), trainer.measure)
    asks = bool(found) or (search and measure.name != TRAINING_LOSS)
    if out_of_reach(found) is not None or not asks:
        return Rescue("out of reach" if found else "healthy", first, measure, cause)
    trials = Search(trainer, first, max(first.steps, 1), budget, tell)
    if found:
        best = trials.go(candidates(found, trials.steps))
    else:
        trials.times = UNASKED
        best = trials.unasked(unasked(trials.steps))
    return _concluded(trials, cause, best)


def _concluded(trials: Search, cause: Diagnosis | None, best: Tried | None) -> Rescue:
    """What a search came to."""
    first, tried = trials.first, tuple(trials.tried)
    attempts = (first,) if best is None else (first, best.attempt)
    measure = judged_by(attempts, trials.trainer.measure)
    ending: Ending = "repaired" if cause else "improved"
    if best is None:
        given_up: Ending = "no remedy helped" if tried else "out of reach"
        ending = given_up if cause else "healthy"
    bought = 0.0 if best is None else gain(best.attempt, first, measure)
    return Rescue(ending, first, measure, cause, best, tried, trials.spent, bought)
