"""The spectral norm of a weight becomes a parameter."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from conventions import keeps_conventions
from surefoot.nn.norm import NormError, SigmaReparam, sigma_reparam


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def _norm(weight: Tensor) -> float:
    return torch.linalg.matrix_norm(weight.detach().flatten(1), 2).item()


@pytest.mark.parametrize("gain", [1.0, 0.3, 4.0])
@pytest.mark.parametrize("shape", [(64, 64), (3, 50), (200, 20), (1, 7)])
def test_the_spectral_norm_of_the_weight_is_the_gain(shape: tuple, gain: float) -> None:
    layer = nn.Linear(*shape[::-1])
    with torch.no_grad():
        layer.weight.normal_()
    sigma_reparam(layer, gain=gain)
    assert _norm(layer.weight) == pytest.approx(gain, rel=1e-4)


def test_the_function_stays_when_the_gain_is_the_norm() -> None:
    layer = nn.Linear(32, 16)
    x = torch.randn(5, 32)
    before, weight = layer(x), layer.weight.detach().clone()
    sigma_reparam(layer, gain=None)
    torch.testing.assert_close(layer(x), before, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(layer.weight, weight, rtol=1e-6, atol=1e-7)
    gain = layer.parametrizations.weight[0].gain
    assert gain.item() == pytest.approx(_norm(weight), rel=1e-5)


def test_the_norm_follows_training() -> None:
    layer = sigma_reparam(nn.Linear(16, 16))
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.05)
    x, target = torch.randn(64, 16), torch.randn(64, 16)
    for _ in range(100):
        optimizer.zero_grad()
        (layer(x) - target).square().mean().backward()
        optimizer.step()
    gain = layer.parametrizations.weight[0].gain.item()
    assert _norm(layer.eval().weight) == pytest.approx(gain, rel=1e-2)
    assert gain != pytest.approx(1.0, abs=1e-3)


def test_evaluation_changes_nothing_and_training_iterates() -> None:
    layer = sigma_reparam(nn.Linear(8, 8))
    norm = layer.parametrizations.weight[0]
    with torch.no_grad():
        layer.parametrizations.weight.original.normal_()
    before = norm.u.clone()
    layer.eval()(torch.ones(1, 8))
    assert torch.equal(norm.u, before)
    layer.train()(torch.ones(1, 8))
    assert not torch.equal(norm.u, before)


def test_gradients_are_those_of_the_formula() -> None:
    weight = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    norm = SigmaReparam(weight.detach()).eval()

    def effective(weight: Tensor, gain: Tensor) -> Tensor:
        return torch.func.functional_call(norm, {"gain": gain}, (weight,))

    gain = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(effective, (weight, gain))


def test_two_passes_before_one_backward_are_allowed() -> None:
    layer = sigma_reparam(nn.Linear(4, 4))
    loss = layer(torch.ones(1, 4)).sum() + layer(torch.zeros(1, 4)).sum()
    loss.backward()
    assert layer.parametrizations.weight.original.grad.abs().sum() > 0


def test_it_keeps_conventions() -> None:
    keeps_conventions(lambda: sigma_reparam(nn.Linear(4, 3)), torch.randn(2, 4))
    keeps_conventions(
        lambda: sigma_reparam(nn.Conv2d(2, 3, 3)), torch.randn(2, 2, 5, 5)
    )


def test_a_state_dict_brings_the_vectors() -> None:
    layer, other = (sigma_reparam(nn.Linear(6, 6)) for _ in range(2))
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other.eval().weight, layer.eval().weight)
    assert torch.equal(copy.deepcopy(layer).weight, layer.weight)


def test_it_can_be_taken_off() -> None:
    layer = sigma_reparam(nn.Linear(6, 6)).eval()
    effective = layer.weight.detach().clone()
    parametrize.remove_parametrizations(layer, "weight")
    assert torch.equal(layer.weight, effective)
    assert not parametrize.is_parametrized(layer)


def test_random_streams_go_on() -> None:
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    SigmaReparam(torch.eye(3))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: sigma_reparam(nn.Linear(3, 3), "bias"), "two dimensions"),
        (lambda: sigma_reparam(nn.Linear(3, 3), "kernel"), r"has no weight 'kernel'"),
        (lambda: SigmaReparam(torch.zeros(3, 3)), "not zero"),
        (lambda: SigmaReparam(torch.full((3, 3), torch.nan)), "finite"),
    ],
)
def test_what_has_no_spectral_norm_is_refused(make, says: str) -> None:
    with pytest.raises(NormError, match=says):
        make()
