"""Rates that back off and recover, beside torch's own plateau reduction."""

from __future__ import annotations

import copy
import math
import warnings
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from surefoot.schedules import BackOffLR, ScheduleError
from surefoot.types import Event


def sgd(lr: float = 0.1) -> torch.optim.SGD:
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=lr)


def rates(scheduler: ReduceLROnPlateau, losses: list[float]) -> list[float]:
    found = []
    for loss in losses:
        scheduler.step(loss)
        found.append(scheduler.optimizer.param_groups[0]["lr"])
    return found


@pytest.mark.parametrize("kind", [ReduceLROnPlateau, BackOffLR])
def test_a_constant_loss_halves_the_rate_on_the_third_step_without_gain(
    kind: Any,
) -> None:
    scheduler = kind(sgd(), factor=0.5, patience=2)
    found = rates(scheduler, [1.0] * 7)
    # The first step sets the mark; the second, third and fourth do not improve on it.
    assert found == [0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025]


def test_without_recovery_it_is_torchs_own() -> None:
    torch.manual_seed(0)
    losses = torch.rand(200).cumsum(0).cos().tolist()
    settings: dict[str, Any] = {
        "factor": 0.7,
        "patience": 3,
        "cooldown": 2,
        "min_lr": 1e-4,
    }
    ours, theirs = BackOffLR(sgd(), **settings), ReduceLROnPlateau(sgd(), **settings)
    assert rates(ours, losses) == rates(theirs, losses)
    assert rates(ours, losses)[-1] < 0.1


def test_improvements_in_a_row_raise_the_rate_up_to_what_it_was() -> None:
    scheduler = BackOffLR(sgd(), factor=0.5, patience=0, recovery=2)
    assert rates(scheduler, [1.0, 1.0, 1.0]) == [0.1, 0.05, 0.025]
    assert rates(scheduler, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]) == [
        0.025, 0.05, 0.05, 0.1, 0.1, 0.1
    ]  # fmt: skip
    assert scheduler.get_last_lr() == [0.1]


def test_each_change_is_told_with_before_after_and_why() -> None:
    heard: list[Event] = []
    scheduler = BackOffLR(sgd(), patience=1, recovery=1, tell=heard.append)
    rates(scheduler, [1.0, 1.0, 1.0, 0.5])
    assert [dict(event.body) for event in heard] == [
        {"before": [0.1], "after": [0.05], "why": "2 steps without improvement"},
        {"before": [0.05], "after": [0.1], "why": "1 improvements in a row"},
    ]
    assert [event.step for event in heard] == [3, 4]
    assert heard == list(scheduler.log)


def test_a_floor_above_the_rate_is_warned_of() -> None:
    """A floor of 1e-3 and a rate of 5e-5: twelve steps, and no change, unseen."""
    silent = ReduceLROnPlateau(sgd(5e-5), factor=0.5, patience=0, min_lr=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rates(silent, [1.0] * 12) == [5e-5] * 12
    with pytest.warns(
        UserWarning, match="the floor min_lr=0.001 is above the rate 5e-05"
    ):
        ours = BackOffLR(sgd(5e-5), patience=0, min_lr=1e-3)
    assert rates(ours, [1.0] * 12) == [5e-5] * 12


def test_a_rate_that_falls_below_the_floor_later_is_warned_of_once() -> None:
    scheduler = BackOffLR(sgd(), patience=0, min_lr=1e-3)
    scheduler.optimizer.param_groups[0]["lr"] = 1e-4
    with pytest.warns(UserWarning, match="never be lowered"):
        scheduler.step(1.0)
    scheduler.step(1.0)


def test_a_loss_that_is_nan_is_no_improvement() -> None:
    scheduler = BackOffLR(sgd(), patience=1, recovery=1)
    assert rates(scheduler, [1.0, math.nan, math.nan]) == [0.1, 0.1, 0.05]


@pytest.mark.parametrize("stop", [1, 3, 4, 6])
def test_a_resumed_run_backs_off_and_recovers_as_an_unbroken_one(stop: int) -> None:
    losses = [1.0, 1.0, 1.0, 1.0, 0.9, 0.8, 0.8, 0.8, 0.7, 0.6]
    whole = rates(BackOffLR(sgd(), patience=1, recovery=2), losses)
    first = BackOffLR(sgd(), patience=1, recovery=2)
    rates(first, losses[:stop])
    saved = copy.deepcopy((first.optimizer.state_dict(), first.state_dict()))
    again = BackOffLR(sgd(), patience=1, recovery=2)
    again.optimizer.load_state_dict(saved[0])
    again.load_state_dict(saved[1])
    assert rates(again, losses[stop:]) == whole[stop:]
    assert "log" not in saved[1]


def test_a_rate_that_is_a_tensor_recovers_in_place() -> None:
    optimizer = torch.optim.SGD(
        [torch.nn.Parameter(torch.ones(1))], lr=torch.tensor(0.1)
    )
    held = optimizer.param_groups[0]["lr"]
    scheduler = BackOffLR(optimizer, patience=0, recovery=1)
    for loss, expected in ((1.0, 0.1), (1.0, 0.05), (0.5, 0.1)):
        scheduler.step(loss)
        assert float(held) == pytest.approx(expected)
    assert optimizer.param_groups[0]["lr"] is held


@pytest.mark.parametrize(
    "given", [{"factor": 1.0}, {"factor": 0}, {"patience": -1}, {"recovery": 0}]
)
def test_impossible_settings_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ScheduleError, match="between 0 and 1"):
        BackOffLR(sgd(), **given)
