"""Tries plans within a budget: candidates come in, the best attempt goes out.

Trouble of the start shows early: candidates for it are compared on the first fifth of
the run, then the best one's learning rate is searched by factors, and the best of all
runs to the end. For trouble that comes later each attempt is a whole one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from surefoot.remedies.clipping import SAFE_NORM
from surefoot.rescue.attempt import Attempt, Plan, Trainer
from surefoot.rescue.candidates import EARLY, Candidate, alarming
from surefoot.rescue.judge import helped, judged_by, score
from surefoot.types import Change

SHARE, REACH = 0.2, 0.1
"""Length of a short trial, and how far it goes beyond the onset, as shares of the run.
Ten of them and a whole attempt fit the budget; a fifth of a run tells rates a factor of
two apart on the tuning half of the zoo."""

MOST_CANDIDATES = 5
BUDGET = 3.0
Tell = Callable[[str], None]
Move = Callable[[Plan], Plan]


@dataclass(frozen=True, slots=True)
class Tried:
    """An attempt and what it was for; `cost` is in lengths of the run."""

    name: str
    cause: str
    attempt: Attempt
    cost: float


@dataclass(slots=True)
class Search:
    """What was tried so far, within a budget in lengths of the run.

    `first` is the run as it was, `tell` hears what is tried next.
    """

    trainer: Trainer
    first: Attempt
    steps: int
    budget: float = BUDGET
    tell: Tell = lambda text: None
    tried: list[Tried] = field(default_factory=list[Tried])

    @property
    def spent(self) -> float:
        """Lengths of the run used so far."""
        return sum(one.cost for one in self.tried)

    def go(self, chosen: Sequence[Candidate]) -> Tried | None:
        """The best whole attempt; None if none helped."""
        short = [one for one in chosen if one.onset <= EARLY * self.steps]
        late = [one for one in chosen if one not in short]
        if chosen and chosen[0] in late:
            return self._whole(late) or self._short(short)
        return self._short(short) or self._whole(late)

    def _whole(self, chosen: Sequence[Candidate]) -> Tried | None:
        """Try candidates to the end, until one helps and leaves no alarm."""
        done: list[Tried] = []
        for one in chosen:
            if self.spent + 1 > self.budget + ROUNDING:
                break
            plan = Plan(one.prescription.changes, one.at)
            tried = self._try(plan, one.prescription.remedy, one.cause)
            if self._helped(tried):
                done.append(tried)
            if done and not alarming(tried.attempt.diagnoses):
                break
        return self._best(done)

    def _short(self, chosen: Sequence[Candidate]) -> Tried | None:
        """Try candidates on the beginning of the run, and the best one to its end."""
        onset = max((one.onset for one in chosen), default=0)
        until = max(1, round(max(SHARE * self.steps, onset + REACH * self.steps)))
        done: list[Tried] = []
        for one in chosen[:MOST_CANDIDATES]:
            if self._affords(until):
                plan = Plan(one.prescription.changes, one.at, until)
                done.append(self._try(plan, one.prescription.remedy, one.cause))
        for move in MOVES if done else ():
            self._climb(done, move, until)
        for one in self._ranked(done):
            if one.attempt.refused or self.spent + 1 > self.budget + ROUNDING:
                return None
            tried = self._try(one.attempt.plan.whole, one.name, one.cause)
            if self._helped(tried):
                return tried
        return None

    def _climb(self, done: list[Tried], move: Move, until: int) -> None:
        """Move the plan of the best on as long as that makes it better."""
        while self._affords(until):
            best = self._best(done)
            if best is None:
                return
            plan = move(best.attempt.plan)
            if any(one.attempt.plan == plan for one in done):
                return
            done.append(self._try(plan, best.name, best.cause))
            if self._best(done) is not done[-1]:
                return

    def _affords(self, until: int) -> bool:
        """Whether a short trial leaves enough for a whole attempt."""
        return self.spent + until / self.steps + 1 <= self.budget + ROUNDING

    def _try(self, plan: Plan, name: str, cause: str) -> Tried:
        self.tell(f"trying: {name}")
        attempt = self.trainer.attempt(plan)
        cost = attempt.steps / max(1, self.steps)
        self.tried.append(Tried(name, cause, attempt, cost))
        return self.tried[-1]

    def _helped(self, one: Tried) -> bool:
        measure = judged_by((self.first, one.attempt), self.trainer.measure)
        return helped(one.attempt, self.first, measure)

    def _ranked(self, done: Sequence[Tried]) -> list[Tried]:
        measure = judged_by([one.attempt for one in done], self.trainer.measure)
        return sorted(done, key=lambda one: -score(one.attempt, measure))

    def _best(self, done: Sequence[Tried]) -> Tried | None:
        ranked = self._ranked(done)
        return ranked[0] if ranked and not ranked[0].attempt.refused else None


def with_rate(plan: Plan, factor: float) -> Plan:
    """The plan with its learning rate multiplied once more.

    >>> with_rate(Plan((Change("lr", "scale", 0.5),)), 4.0).changes[0].amount
    2.0
    """
    scale = Change("lr", "scale", factor)
    rates = [one for one in plan.changes if (one.knob, one.op) == ("lr", "scale")]
    if not rates:
        return replace(plan, changes=(*plan.changes, scale))
    amount = float(f"{float(rates[0].amount) * factor:.3g}")
    changed = () if amount == 1.0 else (replace(rates[0], amount=amount),)
    kept = tuple(one for one in plan.changes if one is not rates[0])
    return replace(plan, changes=(*kept, *changed))


def clipped(plan: Plan) -> Plan:
    """The plan with the norm of the gradient clipped at 1, if it clips nothing yet.

    >>> clipped(clipped(Plan())).changes
    (Change(knob='clip_norm', op='set', amount=1.0, layers=()),)
    """
    if any(one.knob == "clip_norm" for one in plan.changes):
        return plan
    change = Change("clip_norm", "set", SAFE_NORM)
    return replace(plan, changes=(*plan.changes, change))


MOVES: tuple[Move, ...] = (
    lambda plan: with_rate(plan, 1 / 4),
    lambda plan: with_rate(plan, 4.0),
    clipped,
    lambda plan: with_rate(plan, 1 / 2),
    lambda plan: with_rate(plan, 2.0),
)
"""What the best candidate is moved by, in this order. Amounts come from evidence that
is good to half a decade; a clip makes up for a rate chosen while no gradient came."""

ROUNDING = 1e-6
