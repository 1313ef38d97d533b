"""Rates from curvature: closed forms, and an optimizer that uses them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from curvature import nets
from surefoot.curvature.errors import CurvatureError
from surefoot.curvature.rates import (
    SignalToNoiseLR,
    damped_step,
    signal_to_noise_rate,
)


def test_without_noise_the_rate_is_newtons() -> None:
    h = torch.tensor([0.5, 2.0, 10.0])
    mean = torch.tensor([3.0, -1.0, 1e-4])
    rate = signal_to_noise_rate(mean, mean**2, curvature=h)
    assert torch.allclose(rate, 1 / h)


def test_noise_as_strong_as_the_signal_halves_it() -> None:
    h, mean = torch.tensor([0.5, 2.0]), torch.tensor([3.0, -1.0])
    rate = signal_to_noise_rate(mean, mean**2 + mean**2, curvature=h)
    assert torch.allclose(rate, 1 / (2 * h))


def test_no_gradient_and_no_curvature_make_no_rate() -> None:
    zero, one = torch.zeros(2), torch.ones(2)
    assert signal_to_noise_rate(zero, zero, curvature=one).tolist() == [0.0, 0.0]
    assert signal_to_noise_rate(one, one, curvature=zero).tolist() == [0.0, 0.0]


def test_a_damped_step() -> None:
    two, three = torch.tensor(2.0), torch.tensor(3.0)
    assert damped_step(two, three, damping=1.0).item() == 0.5
    assert damped_step(two, -three, damping=1.0).item() == 2.0
    g = torch.tensor([100.0, -100.0, 0.1])
    steps = damped_step(g, torch.zeros(3), damping=1.0, clip=0.5)
    assert steps.tolist() == pytest.approx([0.5, -0.5, 0.1])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"damping": 0.0}, "damping is 0.0"),
        ({"damping": 1.0, "clip": -1.0}, "clip is -1.0"),
        ({"damping": 1.0, "curvature": torch.ones(3)}, "expected the same"),
    ],
)
def test_bad_damping_is_refused(arguments, words: str) -> None:
    curvature = arguments.pop("curvature", torch.ones(2))
    with pytest.raises(ValueError, match=words):
        damped_step(torch.ones(2), curvature, **arguments)


# --- the optimizer --------------------------------------------------------------


def _train(optimizer: SignalToNoiseLR, case: nets.Case, steps: int) -> list[float]:
    losses: list[float] = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = case.loss_fn(case.model, case.batch)
        optimizer.see(loss)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_on_a_quadratic_the_first_step_without_noise_is_newtons() -> None:
    h = torch.tensor([0.1, 1.0, 50.0], dtype=torch.float64)
    weight = nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer = SignalToNoiseLR([weight], warmup=2, caution=1.0, most=100.0)
    for step in range(3):
        before = weight.detach().clone()
        loss = (h * weight**2).sum() / 2
        optimizer.zero_grad()
        optimizer.see(loss)
        loss.backward()
        optimizer.step()
        assert torch.equal(weight, before) == (step < 2)
    assert weight.abs().max() < 1e-12


def test_under_noise_it_slows_down_and_gets_nearer_than_a_fixed_rate() -> None:
    """Schaul 2013, figure 1: where a fixed rate hovers, this one keeps falling."""
    stream = torch.Generator().manual_seed(0)
    noise = torch.randn(1500, 8, generator=stream, dtype=torch.float64)
    far: dict[str, float] = {}
    for name in ("fixed", "vsgd"):
        weight = nn.Parameter(torch.full((8,), 5.0, dtype=torch.float64))
        vsgd = SignalToNoiseLR([weight], most=10.0)
        plain = torch.optim.SGD([weight], lr=0.1)
        tail = 0.0
        for step, pull in enumerate(noise):
            optimizer = vsgd if name == "vsgd" else plain
            optimizer.zero_grad()
            loss = ((weight - pull) ** 2).sum() * 2.0 / 2
            if name == "vsgd":
                vsgd.see(loss)
            loss.backward()
            optimizer.step()
            tail += weight.detach().square().mean().item() if step >= 1250 else 0.0
        far[name] = tail / 250
    assert far["vsgd"] < far["fixed"] / 3


def test_it_trains_a_network_without_a_rate() -> None:
    case = nets.made(nets.logistic)
    losses = _train(SignalToNoiseLR(case.model.parameters()), case, 60)
    assert losses[-1] < 0.9 * losses[0]
    assert all(after < losses[0] + 1e-9 for after in losses)


def test_it_goes_on_from_a_state_dict_as_if_nothing_had_been() -> None:
    case = nets.made(nets.smooth)
    optimizer = SignalToNoiseLR(case.model.parameters(), warmup=2)
    _train(optimizer, case, 6)
    saved = copy.deepcopy(optimizer.state_dict())
    weights = copy.deepcopy(case.model.state_dict())
    on = _train(optimizer, case, 5)
    case.model.load_state_dict(weights)
    other = SignalToNoiseLR(case.model.parameters())
    other.load_state_dict(saved)
    assert _train(other, case, 5) == on


def test_the_global_random_stream_stays() -> None:
    case = nets.made(nets.logistic)
    before = torch.get_rng_state()
    _train(SignalToNoiseLR(case.model.parameters()), case, 3)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_closure_computes_the_loss() -> None:
    weight = nn.Parameter(torch.ones(2))
    optimizer = SignalToNoiseLR([weight], warmup=1, caution=1.0)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (weight**2).sum()
        optimizer.see(loss)
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 2.0
    optimizer.step(closure)
    assert weight.abs().max() < 1e-6


def test_it_asks_to_see_the_loss_first() -> None:
    weight = nn.Parameter(torch.ones(2))
    optimizer = SignalToNoiseLR([weight])
    weight.grad = torch.ones(2)
    with pytest.raises(CurvatureError, match=r"call optimizer\.see\(loss\)"):
        optimizer.step()
    with pytest.raises(CurvatureError, match="no graph"):
        optimizer.see(torch.ones(()))
    with pytest.raises(ValueError, match="warmup is 0"):
        SignalToNoiseLR([weight], warmup=0)
