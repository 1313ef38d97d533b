"""Tries plans within a budget: candidates come in, the best attempt goes out.

Trouble of the start shows early: candidates for it are compared on the first tenth of
the run, then the best one's learning rate is searched by factors, and the best of all
runs to the end. For trouble that comes later each attempt is a whole one. What is left
of the budget goes into whole attempts that build on the best.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from surefoot.remedies.clipping import SAFE_NORM
from surefoot.rescue.attempt import Attempt, Plan, Trainer
from surefoot.rescue.candidates import EARLY, Candidate, alarming, candidates
from surefoot.rescue.judge import helped, judged_by, score
from surefoot.types import Change, Prescription

SHARE, REACH = 0.1, 0.1
"""Length of a short trial, and how far it goes beyond the onset: shares of the run."""

LEAST_TRIAL, MOST_SHARE = 40, 0.2
"""Updates that a short trial has at least, up to a share of the run: after twenty of
them no accuracy of the zoo's text homes told remedies apart (seed 0)."""

WHOLE = 2
"""Whole attempts that short trials leave room for, where the budget has it. One where
the rate itself is suspected: then short trials are what finds it."""

MOST_CANDIDATES = 6
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


@dataclass(frozen=True, slots=True)
class Short:
    """Short trials end after `until` updates; `cost` is their share of the run.

    `whole` is how many whole attempts they leave room for.
    """

    until: int
    cost: float
    whole: int


@dataclass(slots=True)
class Search:
    """What was tried so far, within a budget in lengths of the run.

    `first` is the run as it was, `tell` hears what is tried next. `times` is how many
    times the least gain of `judge.helped` is asked for.
    """

    trainer: Trainer
    first: Attempt
    steps: int
    budget: float = BUDGET
    tell: Tell = lambda text: None
    times: float = 1.0
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

    def unasked(self, chosen: Sequence[Candidate]) -> Tried | None:
        """The same for a run without an alarm: whatever is no better early is left."""
        return self._short(chosen, [Candidate(Prescription(AS_IT_IS, (), "", ""), "")])

    def _whole(self, chosen: Sequence[Candidate]) -> Tried | None:
        """Try candidates to the end, until one helps and leaves no alarm."""
        done: list[Tried] = []
        for one in chosen:
            if not self._affords(1.0):
                break
            plan = Plan(one.prescription.changes, one.at)
            tried = self._try(plan, one.prescription.remedy, one.cause)
            if self._helped(tried):
                done.append(tried)
            if done and not alarming(tried.attempt.diagnoses):
                break
        return self._best(done)

    def _short(
        self, chosen: Sequence[Candidate], beside: Sequence[Candidate] = ()
    ) -> Tried | None:
        """Try candidates on the beginning of the run, and the best one to its end."""
        short = self._length(chosen)
        done: list[Tried] = []
        for one in [*beside, *chosen[:MOST_CANDIDATES]]:
            if self._affords(short.cost + 1):
                plan = Plan(one.prescription.changes, one.at, short.until)
                done.append(self._try(plan, one.prescription.remedy, one.cause))
        for move in MOVES if done else ():
            self._climb(done, move, short)
        for one in self._ranked(done):
            bare = not one.attempt.plan.changes
            if one.attempt.refused or bare or not self._affords(1.0):
                return None
            tried = self._try(one.attempt.plan.whole, one.name, one.cause)
            if self._helped(tried):
                return self._built_on(tried)
        return None

    def _length(self, chosen: Sequence[Candidate]) -> Short:
        """How long short trials are, and what they leave room for."""
        onset = max((one.onset for one in chosen), default=0)
        least = min(LEAST_TRIAL, MOST_SHARE * self.steps)
        until = round(max(SHARE * self.steps, least, onset + REACH * self.steps))
        first = chosen[:1]
        knobs = {change.knob for one in first for change in one.prescription.changes}
        whole = 1 if knobs & set(RATES) else WHOLE
        return Short(max(1, until), max(1, until) / self.steps, whole)

    def _climb(self, done: list[Tried], move: Move, short: Short) -> None:
        """Move the plan of the best on as long as that makes it better."""
        while self._affords(short.cost + max(1.0, min(short.whole, self.budget - 1))):
            best = self._best(done)
            if best is None:
                return
            plan = move(best.attempt.plan)
            if any(one.attempt.plan == plan for one in done):
                return
            done.append(self._try(plan, best.name, best.cause))
            if self._best(done) is not done[-1]:
                return

    def _built_on(self, best: Tried) -> Tried:
        """What is better still, in whole attempts, while the budget lasts."""
        asked = [best.attempt.plan]
        while self._affords(1.0):
            step = next(
                (one for one in self._onward(best) if one[0] not in asked), None
            )
            if step is None:
                return best
            asked.append(step[0])
            tried = self._try(*step)
            best = self._ranked([best, tried])[0]
        return best

    def _onward(self, best: Tried) -> list[tuple[Plan, str, str]]:
        """Plans that go on from a whole attempt: what still alarms, then slower."""
        plan = best.attempt.plan
        left = alarming(best.attempt.diagnoses)
        found = [
            (added, f"{best.name}, then {one.prescription.remedy}", one.cause)
            for one in candidates(left, self.steps)
            if (added := joined(plan, one)) is not None
        ]
        found.append((clipped(with_rate(plan, 1 / 2)), best.name, best.cause))
        return found

    def _affords(self, share: float) -> bool:
        return self.spent + share <= self.budget + ROUNDING

    def _try(self, plan: Plan, name: str, cause: str) -> Tried:
        self.tell(f"trying: {name}")
        attempt = self.trainer.attempt(plan)
        cost = attempt.steps / max(1, self.steps)
        self.tried.append(Tried(name, cause, attempt, cost))
        return self.tried[-1]

    def _helped(self, one: Tried) -> bool:
        measure = judged_by((self.first, one.attempt), self.trainer.measure)
        return helped(one.attempt, self.first, measure, times=self.times)

    def _ranked(self, done: Sequence[Tried]) -> list[Tried]:
        measure = judged_by([one.attempt for one in done], self.trainer.measure)
        return sorted(done, key=lambda one: -score(one.attempt, measure))

    def _best(self, done: Sequence[Tried]) -> Tried | None:
        ranked = self._ranked(done)
        return ranked[0] if ranked and not ranked[0].attempt.refused else None


def joined(plan: Plan, one: Candidate) -> Plan | None:
    """A plan with a candidate's changes on top; None where they meet the same knobs.

    >>> from surefoot.types import Prescription
    >>> slower = Prescription("slower", (Change("lr", "scale", 0.1),), "", "")
    >>> joined(Plan(), Candidate(slower, "")).changes
    (Change(knob='lr', op='scale', amount=0.1, layers=()),)
    >>> joined(Plan(slower.changes), Candidate(slower, "")) is None
    True
    """
    more = tuple(c for c in one.prescription.changes if c.knob != "clip_norm")
    known = {change.knob for change in plan.changes}
    fits = more and one.at == plan.at and not known & {c.knob for c in more}
    return replace(plan, changes=(*plan.changes, *more)) if fits else None


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
RATES = ("lr", "warmup_steps")
AS_IT_IS = "as it is"
