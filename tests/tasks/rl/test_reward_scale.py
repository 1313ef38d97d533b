"""Rewards over the running deviation of the discounted return."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor

from baselines3 import DummyVecEnv, VecNormalize
from conventions import keeps_conventions
from surefoot.schedules import Constant, Vary
from surefoot.tasks.rl import RewardScaler, RLError

ENVIRONMENTS, STEPS = 3, 200


def _stream(seed: int = 0, steps: int = STEPS) -> tuple[Tensor, Tensor]:
    """Rewards that grow, with rare large ones, and ends of episodes."""
    draws = torch.Generator().manual_seed(seed)
    rewards = torch.randn(steps, ENVIRONMENTS, generator=draws, dtype=torch.float64)
    rewards = 20 + 5 * rewards + torch.arange(steps)[:, None]
    rewards[steps // 2, 0] = 100_000.0
    ended = torch.rand(steps, ENVIRONMENTS, generator=draws) < 0.05
    return rewards, ended


class _Played(gymnasium.Env):
    """One environment that gives the rewards of a stream, whatever is done."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, rewards: Tensor, ended: Tensor) -> None:
        self._given = iter(zip(rewards.tolist(), ended.tolist(), strict=True))

    def reset(self, **_):
        return np.zeros(1, np.float32), {}

    def step(self, action):
        reward, ended = next(self._given)
        return np.zeros(1, np.float32), reward, ended, False, {}


@pytest.mark.parametrize("discount", [0.99, 0.5])
def test_it_equals_the_one_of_stable_baselines(discount: float) -> None:
    rewards, ended = _stream()
    makers = [lambda at=at: _Played(rewards[:, at], ended[:, at]) for at in range(3)]
    theirs = VecNormalize(DummyVecEnv(makers), norm_obs=False, gamma=discount)
    theirs.reset()
    ours = RewardScaler(ENVIRONMENTS, discount=discount)
    for reward, end in zip(rewards.float(), ended, strict=True):
        _, expected, _, _ = theirs.step(np.zeros(ENVIRONMENTS, np.int64))
        found = ours(reward.double(), end)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(ours.returns.numpy(), theirs.returns, rtol=1e-6)
    assert found.abs().max() <= 10


def test_nothing_exceeds_the_clip_and_the_sign_stays() -> None:
    rewards, ended = _stream()
    scaler = RewardScaler(ENVIRONMENTS, clip=2.0)
    found = torch.stack([scaler(r, e) for r, e in zip(rewards, ended, strict=True)])
    assert found.abs().max() == 2.0
    assert (found.sign() == rewards.sign()).all()


def test_the_scale_of_rewards_is_of_no_matter() -> None:
    rewards, ended = _stream()
    both = []
    for factor in (1.0, 1_000.0):
        scaler = RewardScaler(ENVIRONMENTS)
        rows = zip(rewards * factor, ended, strict=True)
        both.append(torch.stack([scaler(r, e) for r, e in rows]))
    torch.testing.assert_close(both[1][50:], both[0][50:], rtol=1e-4, atol=1e-4)


def test_evaluation_counts_nothing_and_a_new_one_changes_nothing() -> None:
    scaler = RewardScaler(2).eval()
    rewards = torch.tensor([1.0, -2.0])
    torch.testing.assert_close(
        scaler(rewards, torch.zeros(2, dtype=torch.bool)), rewards
    )
    assert not scaler.returns.any()


def test_a_resumed_run_goes_on_where_it_stopped() -> None:
    rewards, ended = _stream()
    whole, half, other = (RewardScaler(ENVIRONMENTS) for _ in range(3))
    for at in range(STEPS):
        expected = whole(rewards[at], ended[at])
        if at < STEPS // 2:
            half(rewards[at], ended[at])
            other.load_state_dict(half.state_dict())
        else:
            assert torch.equal(other(rewards[at], ended[at]), expected)
    other.reset_running_stats()
    for name, value in RewardScaler(ENVIRONMENTS).state_dict().items():
        assert torch.equal(other.state_dict()[name], value)


def test_its_clip_may_follow_a_schedule() -> None:
    scaler = RewardScaler(1)
    Vary(scaler, "clip", schedule=Constant(0.5)).begin(0)
    assert scaler(torch.tensor([1e6]), torch.tensor([False])).item() == 0.5


def test_it_keeps_conventions() -> None:
    rewards, ended = _stream(steps=1)
    keeps_conventions(lambda: RewardScaler(3), rewards[0].float(), ended[0])


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"environments": 0}, "environments=0"),
        ({"environments": 1, "discount": 1.5}, "discount=1.5"),
        ({"environments": 1, "clip": 0.0}, "clip=0.0"),
    ],
)
def test_settings_without_sense_are_refused(settings: dict, says: str) -> None:
    with pytest.raises(RLError, match=says):
        RewardScaler(**settings)


def test_rewards_that_do_not_fit_are_refused_and_not_counted() -> None:
    scaler = RewardScaler(2)
    none = torch.zeros(2, dtype=torch.bool)
    for rewards, ended in (
        (torch.ones(3), none),
        (torch.ones(2), none[:1]),
        (torch.ones(2), torch.zeros(2)),
    ):
        with pytest.raises(RLError, match=r"expected \[2\] of both"):
            scaler(rewards, ended)
    assert not scaler.returns.any()
