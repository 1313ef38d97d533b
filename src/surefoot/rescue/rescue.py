"""A training that may fail comes in; one that does not goes out, or why there is none.

Train, examine, try what could help beside what was there, and train with what did.
The user's own run is never touched: every attempt is a training of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from surefoot.rescue.attempt import Attempt, Measure, Plan, Trainer
from surefoot.rescue.candidates import alarming, candidates, out_of_reach
from surefoot.rescue.judge import gain, judged_by
from surefoot.rescue.search import BUDGET, Search, Tell, Tried
from surefoot.types import Diagnosis

Ending = Literal["healthy", "repaired", "out of reach", "no remedy helped"]


@dataclass(frozen=True, slots=True)
class Rescue:
    """What a rescue came to.

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
    trainer: Trainer, *, budget: float = BUDGET, tell: Tell = lambda text: None
) -> Rescue:
    """Train; if the run is not healthy, find what helps, and train with that.

    Args:
        trainer: trains from scratch under a plan, from the same seed each time.
        budget: what may be spent on top of the run itself, in lengths of it.
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
    measure = judged_by((first,), trainer.measure)
    if not found:
        return Rescue("healthy", first, measure)
    if out_of_reach(found) is not None:
        return Rescue("out of reach", first, measure, found[0])
    steps = max(first.steps, 1)
    search = Search(trainer, first, steps, budget, tell)
    best = search.go(candidates(found, steps))
    tried, spent = tuple(search.tried), search.spent
    if best is None:
        ending: Ending = "no remedy helped" if tried else "out of reach"
        return Rescue(ending, first, measure, found[0], None, tried, spent)
    measure = judged_by((first, best.attempt), trainer.measure)
    bought = gain(best.attempt, first, measure)
    return Rescue("repaired", first, measure, found[0], best, tried, spent, bought)
