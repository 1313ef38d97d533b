"""Each signature fires on its own planted record, names it, and is silent elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

import cases
from surefoot.signatures.detect import ALL, detect
from surefoot.types import Event, Facts, Finding, Module, Parameter, Series

FAULTY, HEALTHY = cases.faulty_cases(), cases.healthy_cases()


def alarms(case: cases.Case) -> list[Finding]:
    found = detect(case.series, case.facts, case.events)
    return [finding for finding in found if finding.severity != "info"]


@pytest.mark.parametrize("case", FAULTY, ids=lambda one: one.name)
def test_exactly_the_planted_symptoms_raise_an_alarm(case: cases.Case) -> None:
    assert {finding.signature for finding in alarms(case)} == set(case.fires)


@pytest.mark.parametrize("case", FAULTY, ids=lambda one: one.name)
def test_one_finding_a_condition(case: cases.Case) -> None:
    found = [(one.signature, one.detail.get("kind")) for one in alarms(case)]
    assert len(found) == len(set(found))


@pytest.mark.parametrize("case", HEALTHY, ids=lambda one: one.name)
def test_healthy_records_raise_no_alarm(case: cases.Case) -> None:
    assert alarms(case) == []


@pytest.mark.parametrize("case", HEALTHY, ids=lambda one: one.name)
@pytest.mark.parametrize("until", [1, 2, 15, 40, 75, 150, 220])
def test_healthy_records_raise_no_alarm_while_they_grow(
    case: cases.Case, until: int
) -> None:
    assert alarms(replace(case, series=grown(case.series, until))) == []


def grown(series: Mapping[str, Series], until: int) -> dict[str, Series]:
    """What a live record held when `until` steps were done."""
    found: dict[str, Series] = {}
    for name, one in series.items():
        keep = one.steps < until
        found[name] = replace(one, steps=one.steps[keep], values=one.values[keep])
    return found


def test_every_signature_fires_on_some_record_or_only_informs() -> None:
    fired = {name for case in FAULTY for name in case.fires}
    quiet = {one.name for one in ALL} - fired
    assert quiet == {"oscillation", "early_warning", "calibration", "plateau"}


@pytest.mark.parametrize("case", FAULTY, ids=lambda one: one.name)
def test_the_onset_is_when_it_started_not_when_it_was_noticed(case: cases.Case) -> None:
    assert abs(min(one.onset for one in alarms(case)) - case.onset) <= 2


def test_findings_come_worst_first() -> None:
    case = next(one for one in FAULTY if one.name == "rate_jump")
    rank = ["critical", "warning", "info"]
    found = [rank.index(f.severity) for f in detect(case.series, case.facts, ())]
    assert found == sorted(found)


@pytest.mark.parametrize("case", FAULTY, ids=lambda one: one.name)
def test_a_finding_belongs_to_the_stream_it_was_found_in(case: cases.Case) -> None:
    facts = replace(case.facts, stream="critic")
    found = detect(case.series, facts, case.events)
    assert {one.stream for one in found} <= {"critic"}


def test_the_losses_of_adversaries_may_climb_and_jump() -> None:
    case = next(one for one in FAULTY if one.name == "labels_change")
    other = replace(case, facts=replace(case.facts, stream="generator"))
    assert alarms(other) == []


def test_series_without_rows_count_as_not_recorded() -> None:
    series = {name: replace(one, steps=one.steps[:0], values=one.values[:0])
              for name, one in HEALTHY[0].series.items()}  # fmt: skip
    assert detect(series, HEALTHY[0].facts, ()) == []


def test_nothing_recorded_but_an_event_is_enough_for_a_non_finite_value() -> None:
    body = {"module": "4", "operation": "log", "line": "net.py:12"}
    found = detect({}, cases.facts_of(), [Event(7, "nonfinite", body)])
    assert [(one.layer, one.onset) for one in found] == [("4", 7)]


def test_a_long_record_is_diagnosed_in_little_time() -> None:
    """100,000 steps of 60 layers, a third of what the benchmark takes."""
    series, facts = long_record(100_000, 60)
    start = time.thread_time()
    assert [one for one in detect(series, facts, ()) if one.severity != "info"] == []
    assert time.thread_time() - start < 1.2


def long_record(steps: int, layers: int) -> tuple[dict[str, Series], Facts]:
    rng = np.random.default_rng(0)
    names = tuple(f"{i}.weight" for i in range(layers))
    facts = Facts(
        parameters=tuple(Parameter(n, n.partition(".")[0], 4096) for n in names),
        modules=tuple(Module(n.partition(".")[0], "Linear") for n in names),
    )
    dense, sparse = np.arange(steps), np.arange(0, steps, 10)

    def of(quantity: str, axis: np.ndarray, level: float, wide: bool = True) -> Series:
        noise = rng.standard_normal(
            (len(axis), layers if wide else 1), dtype=np.float32
        )
        values = np.float32(level) * np.exp(np.float32(0.1) * noise)
        return Series(quantity, names if wide else ("run",), axis, values)

    loss = of("loss", dense, 1.0, wide=False)
    fall = np.exp(-dense / 20_000).astype(np.float32)[:, None] + np.float32(0.1)
    return {
        "loss": replace(loss, values=loss.values * fall),
        "grad_norm": of("grad_norm", dense, 1.0),
        "weight_norm": of("weight_norm", sparse, 5.0),
        "update_norm": of("update_norm", sparse, 0.01),
        "second_moment_ratio": of("second_moment_ratio", sparse, 1.0),
    }, facts
