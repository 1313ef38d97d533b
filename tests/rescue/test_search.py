"""The search for a remedy: within its budget, beside doing nothing, and honest."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from surefoot.record.rescues import add_rescue, rescues_of
from surefoot.rescue.attempt import Attempt, Measure, Plan
from surefoot.rescue.candidates import candidates, moment, out_of_reach
from surefoot.rescue.judge import TRAINING_LOSS, helped, judged_by
from surefoot.rescue.rescue import rescue
from surefoot.rescue.search import MOVES, with_rate
from surefoot.rescue.told import rescue_json, rescue_text, rescue_told
from surefoot.types import Change, Diagnosis, Evidence, Finding, Prescription

STEPS = 100
ACCURACY = Measure("accuracy")


def finding(onset: int = 0, severity: str = "critical") -> Finding:
    evidence = (Evidence("loss", 9.0, 1.0, "a test"),)
    return Finding("divergence", "run", onset, severity, evidence)  # type: ignore[arg-type]


def diagnosis(
    *changes: tuple[Change, ...],
    onset: int = 0,
    confidence: float = 0.9,
    severity: str = "critical",
) -> Diagnosis:
    remedies = tuple(
        Prescription(f"remedy {i}", one, "better", "a test", f"do {i}")
        for i, one in enumerate(changes)
    )
    found = (finding(onset, severity),)
    return Diagnosis("planted", "", "run", onset, confidence, found, remedies)


def lr(factor: float) -> tuple[Change, ...]:
    return (Change("lr", "scale", factor),)


@dataclass
class Scripted:
    """A trainer whose accuracy is a function of the plan; keeps what it was asked."""

    accuracy: Callable[[Plan], float]
    found: tuple[Diagnosis, ...]
    measure: Measure = ACCURACY
    asked: list[Plan] = field(default_factory=list[Plan])

    def attempt(self, plan: Plan) -> Attempt:
        self.asked.append(plan)
        steps = plan.until or STEPS
        value = self.accuracy(plan)
        still = self.found if value < 0.9 and plan.until is None else ()
        return Attempt(plan, steps, (1 - value,) * steps, value, still)


def rate_of(plan: Plan) -> float:
    return math.prod(float(c.amount) for c in plan.changes if c.knob == "lr")


def near(best: float) -> Callable[[Plan], float]:
    """Accuracy that falls with the distance of the rate from the best one."""
    return lambda plan: max(0.1, 0.95 - 0.3 * abs(math.log10(rate_of(plan) / best)))


def test_a_healthy_run_is_trained_once_if_only_alarms_count() -> None:
    trainer = Scripted(lambda plan: 0.5, ())
    found = rescue(trainer, search=False)
    assert found.ending == "healthy"
    assert trainer.asked == [Plan()]
    assert found.spent == 0


def test_without_a_held_out_number_a_run_without_an_alarm_is_left_alone() -> None:
    trainer = Scripted(lambda plan: math.nan, ())
    trainer.measure = Measure(TRAINING_LOSS, higher_is_better=False)
    assert rescue(trainer).ending == "healthy"
    assert trainer.asked == [Plan()]


def test_a_healthy_run_that_nothing_betters_early_is_left_alone() -> None:
    trainer = Scripted(lambda plan: 0.5, ())
    found = rescue(trainer)
    assert found.ending == "healthy"
    assert found.best is None
    assert all(plan.until for plan in trainer.asked[1:])
    assert found.spent < 2
    assert "nothing was changed" in rescue_text(found)


def test_a_run_without_an_alarm_is_changed_only_for_twice_the_least_gain() -> None:
    for better, ending in ((0.535, "healthy"), (0.56, "improved")):
        trainer = Scripted(lambda plan, to=better: to if plan.changes else 0.5, ())
        found = rescue(trainer)
        assert found.ending == ending
        assert found.cause is None
        said = "No alarm was raised, but this is better" in rescue_text(found)
        assert said == (ending == "improved")


def test_a_rate_that_is_wrong_without_an_alarm_is_found() -> None:
    found = rescue(Scripted(near(0.1), ()))
    assert found.ending == "improved"
    assert found.best is not None
    assert rate_of(found.best.attempt.plan) == pytest.approx(0.1, rel=0.6)


def test_a_finding_that_is_no_alarm_is_no_reason_to_act() -> None:
    trainer = Scripted(lambda plan: 0.5, (diagnosis(lr(0.1), severity="info"),))
    assert rescue(trainer, search=False).ending == "healthy"


def test_what_still_alarms_is_met_on_top_of_what_helped() -> None:
    first, second = (Change("init", "set", "xavier_normal"),), lr(0.1)
    early = diagnosis(first)

    @dataclass
    class Two(Scripted):
        def attempt(self, plan: Plan) -> Attempt:
            attempt = super().attempt(plan)
            if plan.changes == first and plan.until is None:
                return replace(attempt, diagnoses=(diagnosis(second),))
            return attempt

    def accuracy(plan: Plan) -> float:
        if not set(first) <= set(plan.changes):
            return 0.1
        return 0.95 if plan.changes == (*first, *second) else 0.6

    found = rescue(Two(accuracy, (early,)))
    assert found.best is not None
    assert found.best.attempt.plan.changes == (*first, *second)
    assert found.best.name == "remedy 0, then remedy 0"
    assert found.spent <= 3.0 + 1e-6


def test_a_warm_up_is_no_longer_than_the_run_can_bear() -> None:
    warm = (Change("warmup_steps", "set", 100.0),)
    of = {n: candidates((diagnosis(warm),), n)[0].prescription for n in (300, 9000)}
    assert [float(one.changes[0].amount) for one in of.values()] == [30.0, 100.0]


@pytest.mark.parametrize("best", [0.02, 0.1, 0.5, 3.0])
def test_the_rate_is_found_within_the_budget(best: float) -> None:
    trainer = Scripted(near(best), (diagnosis(lr(0.1)),))
    found = rescue(trainer, budget=3.0)
    assert found.ending == "repaired"
    assert found.best is not None
    assert found.best.attempt.plan.until is None
    assert found.best.attempt.metric is not None
    assert found.best.attempt.metric > 0.85
    assert found.spent <= 3.0 + 1e-6
    assert found.gain == pytest.approx(found.best.attempt.metric - near(best)(Plan()))


def test_no_remedy_helped_is_said_plainly() -> None:
    trainer = Scripted(lambda plan: 0.1, (diagnosis(lr(0.1), lr(10.0)),))
    found = rescue(trainer)
    assert found.ending == "no remedy helped"
    assert found.best is None
    assert "No remedy helped; nothing is changed." in rescue_text(found)


def test_a_gain_within_chance_is_no_repair() -> None:
    trainer = Scripted(
        lambda plan: 0.5 if plan.untouched else 0.515, (diagnosis(lr(0.1)),)
    )
    assert rescue(trainer).ending == "no remedy helped"


def test_a_fault_in_the_code_is_named_and_not_acted_on() -> None:
    wiring, other = diagnosis((), confidence=0.95), diagnosis(lr(0.1), confidence=0.6)
    trainer = Scripted(near(0.1), (wiring, other))
    found = rescue(trainer)
    assert found.ending == "out of reach"
    assert trainer.asked == [Plan()]
    assert "lies in the code or in the data" in rescue_text(found)
    assert "do 0" in rescue_text(found)
    assert out_of_reach((other, wiring)) is None


def test_trouble_in_mid_run_is_met_there_by_whole_attempts() -> None:
    late = diagnosis(lr(0.01), (Change("init", "set", "kaiming_normal"),), onset=60)
    trainer = Scripted(lambda plan: 0.95 if plan.at == 55 else 0.1, (late,))
    found = rescue(trainer)
    assert found.ending == "repaired"
    assert [(one.at, one.until) for one in trainer.asked[1:]] == [(55, None)]
    assert found.spent == 1


def test_a_change_that_does_not_fit_is_passed_over() -> None:
    first, second = lr(0.5), (Change("eps", "set", 1e-8),)

    @dataclass
    class Refusing(Scripted):
        def attempt(self, plan: Plan) -> Attempt:
            if any(one.knob == "eps" for one in plan.changes):
                return Attempt(plan, 0, refused="no such option")
            return super().attempt(plan)

    trainer = Refusing(near(0.5), (diagnosis(second, first),))
    found = rescue(trainer)
    assert found.best is not None
    assert found.best.attempt.plan.changes == first
    assert "does not fit: no such option" in rescue_text(found)


def test_attempts_that_do_not_end_well_are_never_the_best() -> None:
    trainer = Scripted(
        lambda plan: 0.4 if plan.untouched else math.nan, (diagnosis(lr(0.1), lr(3.0)),)
    )
    assert rescue(trainer).ending == "no remedy helped"


def test_less_than_one_run_is_no_budget() -> None:
    with pytest.raises(ValueError, match="expected 1 or more"):
        rescue(Scripted(lambda plan: 1.0, ()), budget=0.5)


def test_without_a_held_out_number_the_training_loss_judges() -> None:
    bad = Attempt(Plan(), 10, (2.0,) * 10)
    good = Attempt(Plan(lr(0.1)), 10, (1.0,) * 10, metric=0.5)
    measure = judged_by((bad, good), Measure("accuracy"))
    assert measure.name == TRAINING_LOSS
    assert helped(good, bad, measure)
    assert not helped(bad, good, measure)


def test_when_changes_are_made() -> None:
    kinds = {
        "lr": moment(lr(0.1), 60, STEPS),
        "init": moment((Change("init", "set", "kaiming_normal"),), 60, STEPS),
        "units": moment((Change("units", "reinitialize", "dead"),), 60, STEPS),
        "eps": moment((Change("eps", "set", 1e-8),), 60, STEPS),
        "early": moment(lr(0.1), 3, STEPS),
    }
    assert kinds == {"lr": 55, "init": 0, "units": 65, "eps": 0, "early": 0}


def test_the_same_changes_are_tried_once() -> None:
    found = candidates((diagnosis(lr(0.1)), diagnosis(lr(0.1), confidence=0.5)), STEPS)
    assert len(found) == 1


def test_a_cause_far_behind_the_first_is_not_acted_on() -> None:
    found = candidates((diagnosis(lr(0.1)), diagnosis(lr(9.0), confidence=0.2)), STEPS)
    assert [one.prescription.changes for one in found] == [lr(0.1)]


def test_moves_change_the_plan_and_can_be_taken_back() -> None:
    plan = Plan((*lr(0.5), Change("eps", "set", 1e-8)))
    assert with_rate(with_rate(plan, 4.0), 0.25) in (plan, with_rate(plan, 1.0))
    assert with_rate(plan, 2.0).changes == (Change("eps", "set", 1e-8),)
    assert all(move(plan) != plan for move in MOVES)


def test_what_the_page_shows_begins_with_the_run_left_alone(tmp_path: Path) -> None:
    found = rescue(Scripted(near(0.1), (diagnosis(lr(0.1)),)))
    add_rescue(tmp_path / "net.surefoot", rescue_told(found))
    (read,) = rescues_of(tmp_path / "net.surefoot")
    assert read == rescue_told(found)
    assert read.attempts[0].changes == ()
    assert read.attempts[0].value == pytest.approx(0.65)
    assert [one.value for one in read.attempts if one.chosen] == [pytest.approx(0.95)]
    assert read.headline in rescue_text(found)


def test_what_is_told_is_json() -> None:
    found = rescue(Scripted(near(0.1), (diagnosis(lr(0.1)),)))
    body = rescue_json(found)
    assert body["ending"] == "repaired"
    assert body["changes"] == [
        {"knob": "lr", "op": "scale", "amount": 0.1, "layers": ()}
    ]
    assert body["do_nothing"] == pytest.approx(0.65)
    assert body["repaired"] == pytest.approx(0.95)
