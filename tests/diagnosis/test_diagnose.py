"""Findings become causes: the right one first, with its place, time and remedies."""

from __future__ import annotations

from dataclasses import replace

import pytest

import cases
from surefoot.diagnosis import origin
from surefoot.diagnosis.causes import ALL
from surefoot.diagnosis.diagnose import diagnose
from surefoot.remedies import prescribe
from surefoot.signatures.detect import detect
from surefoot.types import Diagnosis, Evidence, Finding

FAULTY, HEALTHY = cases.faulty_cases(), cases.healthy_cases()
SEEN = (Evidence("loss", 2.0, 1.0, "this test"),)


def diagnosed(case: cases.Case) -> list[Diagnosis]:
    found = detect(case.series, case.facts, case.events)
    return diagnose(found, case.facts, case.events)


def finding(signature: str, **fields: object) -> Finding:
    plain = Finding(signature, "run", 0, "critical", SEEN)
    return replace(plain, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", FAULTY, ids=lambda one: one.name)
def test_the_planted_cause_comes_first(case: cases.Case) -> None:
    assert diagnosed(case)[0].cause == case.cause


@pytest.mark.parametrize("case", FAULTY, ids=lambda one: one.name)
def test_the_planted_layer_and_step_are_named(case: cases.Case) -> None:
    first = diagnosed(case)[0]
    if case.layer != "run":
        assert first.layer == case.layer
    assert abs(first.onset - case.onset) <= 2


@pytest.mark.parametrize("case", FAULTY, ids=lambda one: one.name)
def test_every_diagnosis_has_evidence_and_a_remedy(case: cases.Case) -> None:
    for one in diagnosed(case):
        assert one.findings
        assert one.prescriptions
        assert 0 < one.confidence <= 1


@pytest.mark.parametrize("case", FAULTY, ids=lambda one: one.name)
def test_diagnoses_come_likeliest_first(case: cases.Case) -> None:
    found = [one.confidence for one in diagnosed(case)]
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("case", HEALTHY, ids=lambda one: one.name)
def test_healthy_records_have_no_diagnosis(case: cases.Case) -> None:
    assert diagnosed(case) == []


def test_information_alone_is_no_diagnosis() -> None:
    harmless = [finding(name, severity="info") for name in ("loss_spike", "dead_units")]
    assert diagnose(harmless, cases.facts_of()) == []


def test_one_signal_alone_is_unconfirmed_and_two_confirm() -> None:
    fading = finding("vanishing_gradients", layer="0.weight")
    facts = cases.facts_of(activation="Sigmoid")
    assert not diagnose([fading], facts)[0].confirmed
    assert diagnose([fading, finding("not_learning")], facts)[0].confirmed


def test_a_located_non_finite_value_confirms_itself() -> None:
    detail = {"operation": "log", "direction": "forward", "growth": 1.0}
    found = finding("nonfinite", layer="4", onset=9, detail=detail)
    first = diagnose([found], cases.facts_of())[0]
    assert (first.cause, first.layer, first.confirmed) == ("numeric fault", "4", True)


def test_a_non_finite_value_after_an_explosion_is_its_victim() -> None:
    detail = {"operation": "linear", "direction": "forward", "growth": 1e6}
    broken = finding("nonfinite", layer="4", onset=30, detail=detail)
    grown = finding("exploding_gradients", layer="2.weight", onset=25)
    assert diagnose([broken, grown], cases.facts_of())[0].cause == (
        "learning rate too high"
    )


def test_dead_units_after_too_long_updates_are_victims() -> None:
    dead = finding("dead_units", layer="3", onset=10)
    long = finding("update_ratio", detail={"kind": "high", "ratio": 4.0})
    stuck = finding("not_learning")
    first, second, *_ = diagnose([dead, long, stuck], cases.facts_of())
    assert first.cause == "learning rate too high"
    assert second.cause == "dead ReLU"


def test_a_bad_batch_is_told_from_a_jump_of_the_learning_rate() -> None:
    calm = {"lr_ratio": 1.0, "input_ratio": 1.0, "recovered": True}
    input_jump = finding("loss_spike", detail={**calm, "input_ratio": 90.0})
    rate_jump = finding("loss_spike", detail={**calm, "lr_ratio": 100.0})
    assert diagnose([input_jump], cases.facts_of())[0].cause == "bad batch"
    assert diagnose([rate_jump], cases.facts_of())[0].cause == "learning rate too high"


def test_an_alarm_that_nothing_explains_is_called_unknown() -> None:
    (only,) = diagnose([finding("not_learning")], cases.facts_of())
    assert only.cause == "unknown"
    assert not only.confirmed


def test_the_producer_is_named_before_the_propagator() -> None:
    late = finding("vanishing_gradients", layer="0.weight", onset=0)
    dead = finding("dead_units", layer="5", onset=0)
    assert origin.layer([late, dead], cases.facts_of()) == "5"
    assert origin.layer([finding("not_learning")], cases.facts_of()) == "run"
    assert origin.layer([], cases.facts_of()) == "run"


def test_the_earliest_onset_is_when_it_began() -> None:
    found = [finding("divergence", onset=30), finding("loss_spike", onset=12)]
    assert origin.onset(found) == 12
    assert origin.onset([]) == 0


def test_every_cause_has_known_remedies_and_says_what_it_is() -> None:
    names = [cause.name for cause in ALL]
    assert len(names) == len(set(names))
    for cause in ALL:
        assert set(cause.remedies) <= set(prescribe.ALL), cause.name
        assert cause.about.endswith(".")
        assert cause.told_apart.endswith(".")
        assert cause.remedies
