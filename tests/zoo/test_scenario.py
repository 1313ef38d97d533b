"""Every fault can be planted, and until its onset its twin is the same run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from surefoot.zoo.catalogue import ALL, HOMES, Fault, fault_named
from surefoot.zoo.controls import CONTROLS
from surefoot.zoo.scenario import (
    Scenario,
    matching,
    planted,
    quick,
    scenarios,
    with_twins,
)
from surefoot.zoo.task import Losses
from surefoot.zoo.train import Nobody, scored, train

FROM_THE_START = {
    "moment_ramp": "the gradient is dimmed before the gate opens",
    "moment_jump": "the loss is small before it grows",
    "half_overflow": "the layer is rounded before it grows",
    "logit_drift": "logits are rounded before they drift",
}
"""Faults with an onset that change the run before it, without harm."""


class Losing(Nobody):
    """Keeps the losses."""

    def __init__(self) -> None:
        self.losses: list[Any] = []

    def after_update(self, step: int, loss: Losses, batch: Any) -> None:
        parts = loss if isinstance(loss, Mapping) else {"loss": loss}
        self.losses.append({name: float(one.detach()) for name, one in parts.items()})


def trained(scenario: Scenario, steps: int) -> list[Any]:
    task, _ = planted(scenario)
    task.steps = min(steps, task.steps)
    watching = Losing()
    train(task, watching)
    return watching.losses


@pytest.mark.parametrize("fault", ALL, ids=lambda fault: fault.name)
def test_every_fault_can_be_planted_in_each_of_its_homes(fault: Fault) -> None:
    for place, home in enumerate(fault.homes):
        task, truth = planted(Scenario(home, fault.name, 1 + place % 3, 0))
        assert truth is not None
        assert truth.causes
        assert 0 <= truth.onset < task.steps
        assert not truth.layers or _names(task.models) & set(truth.layers)
        task.steps, task.log_every = 2, 0
        train(task, Nobody())


def _names(models: Mapping[str, torch.nn.Module]) -> set[str]:
    return {
        name
        for model in models.values()
        for name, _ in (*model.named_modules(), *model.named_parameters())
    }


LATER = [fault for fault in ALL if fault.abrupt and fault.name not in FROM_THE_START]


@pytest.mark.parametrize("fault", LATER, ids=lambda fault: fault.name)
def test_a_twin_is_the_same_run_up_to_the_onset(fault: Fault) -> None:
    scenario = Scenario(fault.homes[0], fault.name, 3, 0)
    truth = planted(scenario)[1]
    assert truth is not None
    faulty = trained(scenario, truth.onset + 12)
    healthy = trained(scenario.twin, truth.onset + 12)
    assert truth.onset > 10
    assert faulty[: truth.onset] == healthy[: truth.onset]
    assert faulty[truth.onset :] != healthy[truth.onset :]


@pytest.mark.parametrize("name", HOMES)
def test_a_healthy_run_is_the_same_each_time(name: str) -> None:
    scenario = Scenario(name, None, 0, 3)
    assert trained(scenario, 3) == trained(scenario, 3)


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_trains(name: str) -> None:
    assert len(trained(Scenario(name, None, 0, 3), 2)) == 2


@pytest.mark.parametrize("name", HOMES)
def test_each_home_is_scored_without_a_trace(name: str) -> None:
    task, _ = planted(Scenario(name, None, 0, 0))
    modes = [one.training for one in task.model.modules()]
    state = torch.get_rng_state()
    scores = scored(task)
    assert scores is not None
    assert scores.finite
    assert len(scores.loss) >= 30
    assert torch.equal(state, torch.get_rng_state())
    assert modes == [one.training for one in task.model.modules()]


def test_names_are_unique_and_stable() -> None:
    found = scenarios([0, 1])
    names = [one.name for one in found]
    assert len(set(names)) == len(names)
    assert "rate_too_high-mlp-1-0" in names
    assert names == [one.name for one in scenarios([0, 1])]


def test_there_are_as_many_healthy_runs_as_faulty_ones() -> None:
    found = scenarios(range(4))
    faulty = [one for one in found if one.fault is not None]
    assert 0.7 < (len(found) - len(faulty)) / len(faulty) < 1.4


def test_each_strength_comes_up_over_the_seeds() -> None:
    found = scenarios(range(6))
    for fault in ALL:
        strengths = {one.strength for one in found if one.fault == fault.name}
        assert strengths == {1, 2, 3}, fault.name


def test_bounds_are_chosen_on_even_seeds_of_other_homes_only() -> None:
    assert Scenario("mlp", None, 0, 2).part == "tuning"
    assert Scenario("mlp", None, 0, 3).part == "reporting"
    assert Scenario("vit", "rate_jump", 1, 2).part == "reporting"
    assert Scenario("diffusion", None, 0, 2).part == "reporting"


def test_the_quick_sample_holds_every_fault_and_their_twins() -> None:
    found = quick()
    assert {one.fault for one in found} - {None} == {fault.name for fault in ALL}
    assert set(with_twins(found)) == set(found)
    assert all(one.part == "reporting" for one in found)


def test_patterns_choose_scenarios() -> None:
    found = matching(scenarios([0]), ["rate_jump-*"])
    assert found
    assert {one.fault for one in found} == {"rate_jump"}


def test_an_unknown_fault_is_refused_with_those_there_are() -> None:
    with pytest.raises(KeyError, match=r"'gremlin' came .* rate_too_high"):
        fault_named("gremlin")
