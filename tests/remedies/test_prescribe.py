"""Prescriptions: amounts come from the evidence, layers from the network."""

from __future__ import annotations

import importlib
import importlib.util
import re

import pytest

import cases
from surefoot.remedies.prescribe import ALL, prescribe
from surefoot.types import Evidence, Finding

SEEN = (Evidence("loss", 2.0, 1.0, "this test"),)


def finding(signature: str, **detail: object) -> Finding:
    return Finding(signature, "run", 7, "critical", SEEN, detail=detail)


def only_change(name: str, *found: Finding) -> tuple[str, str, float | str]:
    (prescription,) = prescribe([name], found, cases.facts_of())
    (change,) = prescription.changes
    return change.knob, change.op, change.amount


def test_the_rate_is_lowered_to_a_usual_update_ratio() -> None:
    found = finding("update_ratio", kind="high", ratio=0.3)
    assert only_change("lower lr", found) == ("lr", "scale", 0.01)


def test_a_rate_that_jumped_is_put_back() -> None:
    assert only_change("lower lr", finding("divergence", lr_ratio=50.0))[2] == 0.02


def test_the_rate_is_raised_to_a_usual_update_ratio() -> None:
    found = finding("update_ratio", kind="low", ratio=3e-5)
    assert only_change("higher lr", found) == ("lr", "scale", 100.0)


def test_without_a_measured_ratio_the_rate_changes_tenfold() -> None:
    assert only_change("lower lr")[2] == 0.1
    assert only_change("higher lr")[2] == 10.0


@pytest.mark.parametrize("ratio", [0.0, 1e-30, float("nan"), float("inf"), 1e30])
def test_amounts_stay_within_reason(ratio: float) -> None:
    high = finding("update_ratio", kind="high", ratio=ratio)
    low = finding("update_ratio", kind="low", ratio=ratio)
    assert 1e-3 <= float(only_change("lower lr", high)[2]) <= 0.5
    assert 2 <= float(only_change("higher lr", low)[2]) <= 1e3


def test_the_clip_is_a_multiple_of_the_usual_gradient() -> None:
    found = finding("exploding_gradients", typical=0.8)
    assert only_change("clip", found) == ("clip_norm", "set", 2.0)
    assert only_change("clip") == ("clip_norm", "set", 1.0)


def test_saturating_activations_become_relu_in_hidden_layers_only() -> None:
    facts = cases.facts_of(depth=3, activation="Sigmoid")
    (one,) = prescribe(["relu and kaiming"], [finding("vanishing_gradients")], facts)
    swap, start, clip = one.changes
    assert (swap.knob, swap.amount, swap.layers) == ("activation", "relu", ("1", "3"))
    assert (start.amount, start.layers) == ("kaiming_normal", ("0", "2", "4"))
    assert clip.knob == "clip_norm"


def test_a_remedy_without_layers_to_change_is_left_out() -> None:
    facts = cases.facts_of(activation="ReLU")
    assert prescribe(["relu and kaiming"], [finding("saturation")], facts) == ()


def test_the_start_fits_the_activations() -> None:
    amounts = []
    for kind in ("Tanh", "ReLU"):
        (one,) = prescribe(["rescale"], (), cases.facts_of(activation=kind))
        amounts.append(one.changes[0].amount)
    assert amounts == ["xavier_normal", "kaiming_normal"]


def test_advice_on_a_non_finite_value_names_place_and_operation() -> None:
    found = Finding(
        "nonfinite",
        "head",
        3,
        "critical",
        SEEN,
        detail={"operation": "log", "line": "net.py:12"},
    )
    (one,) = prescribe(["guard"], [found], cases.facts_of())
    assert "head log net.py:12" in one.advice
    assert "logarithm" in one.advice
    assert one.changes == ()


@pytest.mark.parametrize("name", ALL)
def test_every_remedy_has_advice_an_expectation_and_a_source(name: str) -> None:
    facts = cases.facts_of(activation="Sigmoid" if "relu" in name else "ReLU")
    (one,) = prescribe([name], [finding("loss_spike")], facts)
    assert one.advice
    assert one.expect
    assert one.source


def test_an_unknown_remedy_is_refused_and_the_known_are_listed() -> None:
    with pytest.raises(KeyError, match=r"prayer.*lower lr"):
        prescribe(["prayer"], (), cases.facts_of())


def test_what_advice_names_is_there() -> None:
    facts = cases.facts_of()
    told = [make((finding("any"),), facts).advice for make in ALL.values()]
    named = {name for text in told for name in re.findall(r"surefoot(?:\.\w+)+", text)}
    assert len(named) >= 6
    for name in named:
        package, _, last = name.rpartition(".")
        home = importlib.import_module(package)
        assert hasattr(home, last) or importlib.util.find_spec(name)
