"""The counting rule, on labels and judgements made by hand; and one real record."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from surefoot.zoo import table
from surefoot.zoo.harm import Harm
from surefoot.zoo.judging import Judgement, cut, judge, read, six_sigma
from surefoot.zoo.recording import Label, label_of, record
from surefoot.zoo.scenario import Scenario
from surefoot.zoo.scoring import Row, Share, score
from surefoot.zoo.task import Truth

HURT = Harm(held=True, effect=0.3, measure="accuracy")
UNHURT = Harm(held=False, effect=0.0, measure="accuracy")
TRUTH = Truth(("numeric fault",), 100, ("2",))


def healthy(name: str, *causes: str, steps: int = 500) -> Row:
    label = Label(Scenario(name, None, 0, 0), None, None, steps, 1.0)
    alarms = ("loss spike",) if causes else ()
    return Row(label, Judgement(alarms, causes, ("run",) * len(causes), bool(causes)))


def faulty(fault: str, *causes: str, found: bool = True, **more: object) -> Row:
    label = Label(Scenario("mlp", fault, 1, 0), TRUTH, None, 300, 1.0)
    layers = ("2",) + ("run",) * (len(causes) - 1) if causes else ()
    said = Judgement(("nonfinite",) if found else (), causes, layers, found, **more)  # pyright: ignore[reportArgumentType]
    return Row(label, said, HURT)


def test_healthy_runs_are_counted_by_run_and_by_step() -> None:
    one = score([healthy("a"), healthy("b", "bad batch", "unknown"), healthy("c")])
    assert one.healthy_alarmed == Share(1, 3)
    assert one.alarms_per_100k_steps == pytest.approx(2 / 1500 * 1e5)
    assert one.false_alarms == ("b-0: loss spike → bad batch, unknown",)


def test_causes_are_counted_by_their_place() -> None:
    one = score(
        [
            faulty("log_of_negative", "numeric fault"),
            faulty("root_of_zero", "bad batch", "numeric fault"),
            faulty("zero_by_zero", "bad batch"),
            faulty("missing_values", found=False),
        ]
    )
    assert one.recall == Share(3, 4)
    assert one.top1 == Share(1, 4)
    assert one.top3 == Share(2, 4)
    assert one.missed == ("missing_values-mlp-1-0",)
    assert [line.partition(":")[0] for line in one.wrong] == [
        "root_of_zero-mlp-1-0",
        "zero_by_zero-mlp-1-0",
    ]
    assert one.classes["log_of_negative"] == (1, 1, 1)


def test_a_harmless_fault_is_listed_and_not_counted() -> None:
    row = faulty("log_of_negative", found=False)
    one = score([Row(row.label, row.said, UNHURT)])
    assert one.recall == Share(0, 0)
    assert math.isnan(one.recall.value)
    assert len(one.harmless) == 1


def test_layers_are_counted_where_one_is_guilty() -> None:
    right = faulty("log_of_negative", "numeric fault")
    said = Judgement(("nonfinite",), ("numeric fault",), ("0",), True)
    one = score([right, Row(right.label, said, HURT)])
    assert one.layer_first == Share(1, 2)
    assert one.layers_named == 1


def test_delays_are_of_abrupt_faults_and_leads_of_spikes() -> None:
    one = score(
        [
            faulty("log_of_negative", "numeric fault", delay=0),
            faulty("root_of_zero", "numeric fault", delay=4),
            faulty("rate_too_high", "numeric fault", delay=77),
            faulty("moment_ramp", "numeric fault", delay=3, rule_delay=9),
            faulty("moment_ramp", "numeric fault", delay=3, rule_delay=4),
            faulty("moment_ramp", "numeric fault", delay=3, rule_delay=None),
        ]
    )
    assert one.delay_median == 2
    assert one.lead == Share(2, 3)


def test_the_table_shows_every_claim() -> None:
    text = table.table({"tuning": score([healthy("a")])})
    assert all(title in text for title, _, _ in table.TARGETS)
    assert "0.0 % (0/1)" in text


def test_the_six_sigma_rule_needs_a_past() -> None:
    assert not six_sigma(np.array([1.0] * 10 + [9.0]))
    assert six_sigma(np.array([1.0] * 30 + [9.0]))
    assert six_sigma(np.array([1.0] * 30 + [np.nan]))


def test_a_recorded_fault_is_found_and_dated(tmp_path: Path) -> None:
    scenario = Scenario("mlp", "missing_values", 3, 0)
    label = record(scenario, tmp_path)
    again = label_of(tmp_path, scenario)
    assert again is not None
    assert again.truth == label.truth
    assert again.scores is not None
    assert not again.scores.finite
    said = judge(again, tmp_path)
    assert said.found
    assert said.causes[0] == "non-finite data"
    assert not said.early
    assert said.delay is not None
    assert said.delay <= 20


def test_a_record_can_be_cut_off(tmp_path: Path) -> None:
    scenario = Scenario("mlp", None, 0, 0)
    record(scenario, tmp_path)
    whole = read(tmp_path / "mlp-0.surefoot")
    part = cut(whole, 50)
    assert part["main"].series["loss"].steps.max() == 50
    assert whole["main"].series["loss"].steps.max() > 50
