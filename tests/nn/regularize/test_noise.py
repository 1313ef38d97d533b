"""Noise on activations, gradients and weights: how much, when, and drawn by whom."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from conventions import keeps_conventions
from surefoot.nn.regularize import (
    GaussianNoise,
    GradientNoise,
    RegularizeError,
    WeightNoise,
    add_noise_,
    annealed_std,
    gaussian_noise,
)
from surefoot.schedules import Linear, Vary, after_step, from_dict, to_dict

# --- on inputs and activations --------------------------------------------------


def test_the_mean_loss_of_a_quadratic_rises_by_half_the_trace() -> None:
    torch.manual_seed(0)
    hessian = torch.tensor([[3.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    noise = GaussianNoise(0.1).double()
    point = torch.zeros(400_000, 2, dtype=torch.float64)

    def loss(x: torch.Tensor) -> torch.Tensor:
        return ((x @ hessian) * x).sum(-1).mean() / 2

    rise = float(loss(noise(point)) - loss(point))
    assert rise == pytest.approx(0.025, rel=0.01)
    assert float(loss(noise.eval()(point)) - loss(point)) == 0.0


@settings(deadline=None, max_examples=50)
@given(st.floats(0, 3), st.lists(st.integers(0, 4), max_size=3))
def test_shape_and_dtype_are_those_that_came(std: float, shape: list[int]) -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        found = GaussianNoise(std)(torch.zeros(shape, dtype=dtype))
        assert found.shape == tuple(shape)
        assert found.dtype == dtype


def test_the_gradient_passes_unchanged() -> None:
    x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    stream = torch.Generator().manual_seed(0)
    state = stream.get_state()

    def noisy(x: torch.Tensor) -> torch.Tensor:
        stream.set_state(state)
        return gaussian_noise(x, 0.5, generator=stream)

    assert torch.autograd.gradcheck(noisy, (x,))


def test_the_noise_follows_a_schedule_live() -> None:
    noise = GaussianNoise(1.0)
    Vary(noise, "std", schedule=Linear(1.0, 0.0, steps=2)).begin(2)
    assert torch.equal(noise(torch.ones(4)), torch.ones(4))


def test_the_layer_keeps_the_conventions() -> None:
    keeps_conventions(lambda: GaussianNoise(0.1), torch.randn(4, 3), exported=True)


def test_what_noise_has_no_meaning_for_is_refused() -> None:
    with pytest.raises(RegularizeError, match="embedding"):
        GaussianNoise(0.1)(torch.tensor([1, 2]))
    with pytest.raises(RegularizeError, match="0 or more"):
        GaussianNoise(-0.1)


# --- on gradients and weights, annealed -----------------------------------------


def test_the_variance_falls_as_the_power_says() -> None:
    eta = 0.3
    std = annealed_std(eta)
    assert std(0) ** 2 == pytest.approx(eta)
    assert std(99) ** 2 == pytest.approx(eta * 0.0794, rel=1e-3)
    drawn = torch.zeros(200_000, dtype=torch.float64)
    add_noise_([drawn], std(99), seed=0, step=99)
    assert drawn.var().item() == pytest.approx(eta * 0.0794, rel=0.03)
    assert abs(drawn.mean().item()) < 4 * std(99) / 200_000**0.5
    assert from_dict(to_dict(std)) == std


def run(steps: int, *, seed: int = 0, resumed_at: int | None = None) -> torch.Tensor:
    """Weights after noisy steps, or after as many with a checkpoint on the way."""
    weight = nn.Parameter(torch.zeros(3))
    sgd = torch.optim.SGD([weight], lr=1.0)
    noise = GradientNoise(sgd, annealed_std(0.3), seed=seed)
    for step in range(steps):
        if step == resumed_at:
            state, kept = copy.deepcopy(sgd.state_dict()), weight.detach().clone()
            noise.remove()
            weight = nn.Parameter(kept)
            sgd = torch.optim.SGD([weight], lr=1.0)
            noise = GradientNoise(sgd, annealed_std(0.3), seed=seed)
            sgd.load_state_dict(state)
        weight.grad = torch.zeros(3)
        sgd.step()
    return weight.detach()


def test_gradient_noise_is_resumed_bit_by_bit_and_leaves_the_streams_alone() -> None:
    before = torch.get_rng_state()
    whole = run(6)
    assert torch.equal(run(6, resumed_at=4), whole)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(run(6, seed=1), whole)
    assert len(set(whole.tolist())) == 3


def test_no_step_draws_what_another_did_and_what_is_removed_is_gone() -> None:
    weight = nn.Parameter(torch.zeros(2))
    sgd = torch.optim.SGD([weight], lr=1.0)
    seen = [weight.detach().clone()]
    with GradientNoise(sgd, 1.0) as noise:
        for _ in range(2):
            weight.grad = torch.zeros(2)
            sgd.step()
            seen.append(weight.detach().clone())
        assert not torch.equal(seen[1] - seen[0], seen[2] - seen[1])
        assert noise.updates.log[-1].body["std"] == 1.0
    weight.grad = torch.zeros(2)
    sgd.step()
    assert torch.equal(weight.detach(), seen[-1])


@pytest.mark.parametrize("fused", [False, True])
def test_behind_a_scaler_the_noise_has_the_true_scale(fused: bool) -> None:
    plain, scaled = (nn.Parameter(torch.zeros(3)) for _ in range(2))
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for weight in (plain, scaled):
        sgd = torch.optim.SGD([weight], lr=1.0, fused=fused)
        GradientNoise(sgd, 1.0)
        loss = (weight * 2).sum()
        (loss if weight is plain else scaler.scale(loss)).backward()
        if weight is plain:
            sgd.step()
        else:
            scaler.step(sgd)
    assert bool((plain.detach() != -2).all())
    torch.testing.assert_close(scaled.detach(), plain.detach())


def test_weight_noise_is_added_after_each_update() -> None:
    weight = nn.Parameter(torch.zeros(100_000))
    sgd = torch.optim.SGD([weight], lr=1.0)
    handle = after_step(sgd, WeightNoise([weight], annealed_std(0.01)))
    weight.grad = torch.zeros_like(weight)
    for _ in range(2):
        sgd.step()
    expected = 0.01 * (1 + 2**-0.55)
    assert weight.var().item() == pytest.approx(expected, rel=0.03)
    assert handle.log[0].body["std"] == pytest.approx(0.1)


def test_a_sharded_tensor_and_a_negative_variance_are_refused() -> None:
    class Sharded(torch.Tensor):
        device_mesh = None

    shard = torch.zeros(2).as_subclass(Sharded)
    with pytest.raises(RegularizeError, match="sharded"):
        add_noise_([shard], 1.0, seed=0)
    with pytest.raises(RegularizeError, match="0 or more"):
        annealed_std(-1.0)
