"""Bellman updates contract whatever the rewards; potentials change no policy."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from surefoot.tasks.rl import (
    RLError,
    bellman_contraction,
    bellman_update,
    potential_shaping,
)

GAMMA = 0.9


def _world(states: int = 5, actions: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(seed)
    shape = (states, actions)
    rewards = torch.randn(shape, generator=draws, dtype=torch.float64)
    raw = torch.rand(*shape, states, generator=draws, dtype=torch.float64)
    return rewards, raw / raw.sum(-1, keepdim=True)


def _solved(rewards: Tensor, transitions: Tensor) -> Tensor:
    values = torch.zeros_like(rewards)
    for _ in range(600):  # 0.9^600 = 4e-28
        values = bellman_update(values, rewards, transitions, discount=GAMMA)
    return values


@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_the_ratio_is_gamma_at_any_scale_of_the_rewards(scale: float) -> None:
    rewards, transitions = _world()
    values = torch.randn(5, 3, dtype=torch.float64)
    found = bellman_contraction(
        lambda q: bellman_update(q, scale * rewards, transitions, discount=GAMMA),
        values,
        values + 1,
        discount=GAMMA,
    )
    assert found.ratio == pytest.approx(GAMMA, rel=1e-14)
    assert found.held


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), scale=st.floats(1e-3, 1e3))
def test_no_two_value_functions_come_apart(seed: int, scale: float) -> None:
    rewards, transitions = _world(seed=seed)
    torch.manual_seed(seed)
    one, other = scale * torch.randn(2, 5, 3, dtype=torch.float64)
    found = bellman_contraction(
        lambda q: bellman_update(q, rewards, transitions, discount=GAMMA),
        one,
        other,
        discount=GAMMA,
    )
    assert found.held


def test_a_target_with_another_discount_is_seen() -> None:
    rewards, transitions = _world()
    values = torch.zeros(5, 3, dtype=torch.float64)
    found = bellman_contraction(
        lambda q: bellman_update(q, rewards, transitions, discount=1.0),
        values,
        values + 1,
        discount=GAMMA,
    )
    assert not found.held
    assert found.ratio == pytest.approx(1.0)


def _shaping(potential: Tensor, transitions: Tensor, ended: Tensor) -> Tensor:
    """The expected shaping of each state and action."""
    states = len(potential)
    shape = (states, transitions.shape[1], states)
    each = potential_shaping(
        potential[:, None, None].expand(shape),
        potential.expand(shape),
        discount=GAMMA,
        ended=ended.expand(shape),
    )
    return (transitions * each).sum(-1)


def test_shaping_by_a_potential_shifts_values_by_it_and_keeps_the_policy() -> None:
    rewards, transitions = _world()
    potential = 3 * torch.randn(5, dtype=torch.float64)
    never = torch.zeros(5, dtype=torch.bool)
    plain = _solved(rewards, transitions)
    added = _shaping(potential, transitions, never)
    shaped = _solved(rewards + added, transitions)
    shift = -potential[:, None].expand(5, 3)
    torch.testing.assert_close(shaped - plain, shift, rtol=1e-12, atol=1e-12)
    assert torch.equal(shaped.argmax(1), plain.argmax(1))


def test_the_same_holds_where_episodes_end() -> None:
    rewards, transitions = _world()
    last = torch.tensor([False, False, False, False, True])
    going_on = transitions.clone()
    going_on[..., 4] = 0.0  # nothing is won after state 4
    potential = 3 * torch.randn(5, dtype=torch.float64)
    plain = _solved(rewards, going_on)
    shaped = _solved(rewards + _shaping(potential, transitions, last), going_on)
    shift = -potential[:, None].expand(5, 3)
    torch.testing.assert_close(shaped - plain, shift, rtol=1e-12, atol=1e-12)


def test_what_does_not_fit_is_refused() -> None:
    rewards, transitions = _world()
    values = torch.zeros(5, 3, dtype=torch.float64)
    with pytest.raises(RLError, match=r"\[states, actions, states\]"):
        bellman_update(values, rewards, transitions[:4], discount=GAMMA)
    with pytest.raises(RLError, match="Q and Q"):
        bellman_contraction(lambda q: q, values, values, discount=GAMMA)
    with pytest.raises(RLError, match="expected one shape"):
        bellman_contraction(lambda q: q, values, values[:2], discount=GAMMA)
    with pytest.raises(RLError, match="and booleans"):
        potential_shaping(
            torch.ones(2), torch.ones(2), discount=GAMMA, ended=torch.ones(2)
        )
