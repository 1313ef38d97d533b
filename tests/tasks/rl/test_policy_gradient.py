"""Variance of the policy gradient: exact on a bandit of three arms."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from surefoot.tasks.rl import (
    PolicyGradientVariance,
    RLError,
    mean_baseline,
    optimal_baseline,
    policy_gradient,
    policy_scores,
    softmax_scores,
)

P = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
R = torch.tensor([1.0, 0.0, 2.0], dtype=torch.float64)
SCORES = softmax_scores(P)


def _variance(rewards: Tensor, baseline: float | Tensor = 0.0) -> float:
    _, found = policy_gradient(SCORES, rewards, baseline=baseline, weights=P)
    return found.item()


def _draws(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.multinomial(P, count, replacement=True, generator=generator)


def test_the_total_variance_on_the_bandit_is_the_stated_one() -> None:
    assert _variance(R) == pytest.approx(0.6648, abs=1e-12)


def test_twice_the_rewards_are_exactly_four_times_the_variance() -> None:
    arms = _draws(1_000)
    _, one = policy_gradient(SCORES[arms], R[arms])
    _, two = policy_gradient(SCORES[arms], 2 * R[arms])
    assert (two / one).item() == 4.0
    meters = [PolicyGradientVariance() for _ in range(2)]
    for part in arms.split(64):
        meters[0].update(SCORES[part], R[part])
        meters[1].update(SCORES[part], 2 * R[part])
    assert meters[1].variance / meters[0].variance == 4.0


def test_baselines_lower_it_to_the_stated_values() -> None:
    mean = mean_baseline(R, weights=P)
    best = optimal_baseline(SCORES, R, weights=P)
    assert mean.item() == pytest.approx(1.2)
    assert _variance(R, mean) == pytest.approx(0.1752, abs=5e-5)
    assert best.item() == pytest.approx(0.92903, abs=5e-6)
    assert _variance(R, best) == pytest.approx(0.12968, abs=5e-6)


def test_a_baseline_leaves_the_gradient_as_it_is() -> None:
    plain, _ = policy_gradient(SCORES, R, weights=P)
    moved, _ = policy_gradient(SCORES, R, baseline=7.0, weights=P)
    torch.testing.assert_close(moved, plain)
    value = P.log().requires_grad_()
    (value.softmax(0) @ R).backward()
    torch.testing.assert_close(plain, value.grad)


@settings(max_examples=40, deadline=None)
@given(
    logits=st.lists(st.floats(-2, 2), min_size=2, max_size=5),
    seed=st.integers(0, 99),
    other=st.floats(-5, 5),
)
def test_no_constant_baseline_beats_the_optimal_one(
    logits: list[float], seed: int, other: float
) -> None:
    torch.manual_seed(seed)
    p = torch.tensor(logits, dtype=torch.float64).softmax(0)
    scores, rewards = softmax_scores(p), torch.randn(len(p), dtype=torch.float64)
    best = optimal_baseline(scores, rewards, weights=p)
    _, least = policy_gradient(scores, rewards, baseline=best, weights=p)
    _, more = policy_gradient(scores, rewards, baseline=other, weights=p)
    assert least <= more + 1e-12


def test_a_stream_in_chunks_gives_what_the_whole_does() -> None:
    arms = _draws(500)
    meter = PolicyGradientVariance()
    for part in arms.split(33):
        meter.update(SCORES[part], R[part], baseline=0.9)
    mean, variance = policy_gradient(SCORES[arms], R[arms], baseline=0.9)
    assert meter.variance == pytest.approx(variance.item(), rel=1e-12)
    torch.testing.assert_close(meter.gradient, mean)
    again = PolicyGradientVariance()
    again.load_state_dict(meter.state_dict())
    again.update(SCORES[arms], R[arms])
    meter.update(SCORES[arms], R[arms])
    assert again.variance == meter.variance


def test_samples_approach_the_expectation() -> None:
    arms = _draws(200_000)
    _, found = policy_gradient(SCORES[arms], R[arms])
    assert found.item() == pytest.approx(0.6648, rel=0.01)


def test_scores_of_a_network_are_those_of_one_sample_at_a_time() -> None:
    torch.manual_seed(0)
    policy = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4))
    observations, actions = torch.randn(6, 3), torch.tensor([0, 1, 2, 3, 0, 1])
    found = policy_scores(policy, observations, actions)
    for at in range(6):
        chosen = policy(observations[at]).log_softmax(-1)[actions[at]]
        one = torch.autograd.grad(chosen, list(policy.parameters()))
        torch.testing.assert_close(found[at], torch.cat([g.flatten() for g in one]))


def test_gradients_flow_through_the_variance() -> None:
    scores = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    returns = torch.randn(4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(policy_gradient, (scores, returns))
    assert torch.autograd.gradcheck(optimal_baseline, (scores, returns))


def test_shapes_that_do_not_fit_are_refused_and_not_counted() -> None:
    meter = PolicyGradientVariance()
    with pytest.raises(RLError, match="no samples came yet"):
        _ = meter.variance
    with pytest.raises(RLError, match=r"expected \[samples, parameters\]"):
        meter.update(SCORES, R[:2])
    meter.update(SCORES, R)
    before = meter.variance
    with pytest.raises(RLError, match="expected the 3 of before"):
        meter.update(torch.ones(3, 2), R)
    assert meter.variance == before
    with pytest.raises(RLError, match="as the weights"):
        policy_gradient(SCORES, R, weights=P[:2])
