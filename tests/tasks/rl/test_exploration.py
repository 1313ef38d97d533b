"""How much is explored, and the alarm when it ends too early."""

from __future__ import annotations

import logging
import math

import pytest
import torch
from torch import nn

from baselines3 import LinearSchedule
from conventions import keeps_conventions
from surefoot.schedules import Linear, Vary, after_step
from surefoot.tasks.rl import (
    EntropyBonus,
    EntropyFloor,
    EpsilonGreedy,
    RLError,
    epsilon_greedy,
    policy_entropy,
)


def test_the_entropy_of_a_uniform_policy_over_four_actions_is_ln_4() -> None:
    assert policy_entropy(torch.zeros(4)).item() == pytest.approx(1.3863, abs=5e-5)
    logits = torch.randn(7, 5)
    expected = torch.distributions.Categorical(logits=logits).entropy()
    torch.testing.assert_close(policy_entropy(logits), expected)
    ruled_out = torch.tensor([0.0, 0.0, -math.inf])
    assert policy_entropy(ruled_out).item() == pytest.approx(math.log(2))


def test_the_alarm_comes_after_so_many_updates_below_the_floor(caplog) -> None:
    alarm = EntropyFloor(0.5, patience=3)
    told = [0.4, 0.4, 0.6, 0.4, 0.4, 0.4, 0.4, 0.5, 0.4]
    with caplog.at_level(logging.WARNING, "surefoot.rl"):
        found = [alarm.update(torch.tensor(entropy)) for entropy in told]
    assert found == [False] * 5 + [True, True, False, False]
    assert len(caplog.records) == 1
    assert "update 6: entropy 0.4 below 0.5 for 3 updates" in caplog.text


def test_the_floor_may_follow_a_schedule_and_the_alarm_can_be_resumed() -> None:
    floor = Linear(1.0, 0.0, steps=10)
    alarm = EntropyFloor(floor, patience=2)
    assert [alarm.update(0.75) for _ in range(3)] == [False, True, True]
    other = EntropyFloor(floor, patience=2)
    other.load_state_dict(alarm.state_dict())
    assert [other.update(0.75) for _ in range(2)] == [False, False]


def test_epsilon_is_the_share_of_draws() -> None:
    values = torch.tensor([0.0, 5.0, 1.0, 2.0]).expand(100_000, 4)
    draws = torch.Generator().manual_seed(0)
    for epsilon in (0.0, 0.3, 1.0):
        actions = epsilon_greedy(values, epsilon, generator=draws)
        share = (actions == 1).float().mean().item()
        assert share == pytest.approx(1 - epsilon * 3 / 4, abs=0.006)


def test_exploration_follows_the_schedule_of_stable_baselines() -> None:
    steps, share = 20, 0.5
    theirs = LinearSchedule(1.0, 0.05, share)
    greedy = EpsilonGreedy(1.0)
    weight = nn.Parameter(torch.zeros(1))
    sgd = torch.optim.SGD([weight], lr=0.0)
    schedule = Linear(1.0, 0.05, steps=steps * share)
    after_step(sgd, Vary(greedy, "epsilon", schedule=schedule))
    weight.grad = torch.zeros(1)
    for step in range(steps):
        expected = theirs(1 - step / steps)
        assert greedy.epsilon.item() == pytest.approx(expected, abs=1e-6)
        sgd.step()


def test_modules_keep_conventions() -> None:
    keeps_conventions(lambda: EpsilonGreedy(0.5), torch.randn(6, 4))
    keeps_conventions(lambda: EntropyBonus(0.1), torch.randn(6, 4), exported=True)


def test_the_bonus_pulls_towards_uniform() -> None:
    logits = torch.tensor([3.0, 0.0, 0.0], requires_grad=True)
    (-EntropyBonus(1.0)(logits)).backward()
    assert logits.grad[0] > 0 > logits.grad[1]
    inputs = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(policy_entropy, inputs)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(RLError, match=r"epsilon=1.5 came"):
        EpsilonGreedy(1.5)
    with pytest.raises(RLError, match="patience=0 came"):
        EntropyFloor(0.5, patience=0)
    alarm = EntropyFloor(0.5)
    with pytest.raises(RLError, match="no number came at update 0"):
        alarm.update(math.nan)
    assert alarm.updates == 0
