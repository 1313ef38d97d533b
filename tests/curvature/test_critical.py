"""Critical sharpness from forward passes."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from curvature import nets
from surefoot.curvature.critical import critical_sharpness
from surefoot.curvature.errors import CurvatureError
from surefoot.curvature.operators import Batches
from surefoot.curvature.updates import next_update


class Curve(nn.Module):
    """One weight on a function of one number."""

    def __init__(self, function, at: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([at], dtype=torch.float64))
        self.function = function

    def forward(self) -> Tensor:
        return self.function(self.weight[0])


def value(model: nn.Module, _: object) -> Tensor:
    return model()


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.floats(-6, 6), st.floats(-3, 3), st.sampled_from([0.3, 0.05, 0.001]))
def test_on_a_parabola_it_is_the_curvature(
    height: float, place: float, tolerance: float
) -> None:
    curvature = 10**height
    model = Curve(lambda w: curvature * w**2 / 2, 10**place)
    found = critical_sharpness(model, None, loss_fn=value, tolerance=tolerance)
    assert found.converged
    assert abs(found.value - curvature) <= found.error * (1 + 1e-9)
    assert found.error <= 0.51 * tolerance * found.value / (1 - tolerance)


def test_a_parabola_takes_six_passes() -> None:
    """One with a backward, one at the weights, and four along the direction."""
    model = Curve(lambda w: 3.7 * w**2 / 2, 2.0)
    found = critical_sharpness(model, None, loss_fn=value)
    assert int(found.method.split(", ")[1].split()[0]) <= 6


@pytest.mark.parametrize(
    "function",
    [
        lambda w: w**4,
        lambda w: w.abs() ** 1.5,
        lambda w: torch.cosh(w) + 0.3 * w,
        lambda w: (w - 0.99).abs() + w**2,
        lambda w: torch.where(w < 0.9, torch.inf, w),
    ],
)
def test_the_bracket_holds_the_first_rise_on_other_curves(function) -> None:
    model = Curve(function, 1.0)
    found = critical_sharpness(model, None, loss_fn=value, tolerance=0.01)
    assert found.converged
    at = torch.ones((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(function(at), at)
    low, high = 2 / (found.value + found.error), 2 / (found.value - found.error)
    assert function(at - low * (1 - 1e-9) * slope) <= function(at)
    assert not function(at - high * (1 + 1e-9) * slope) <= function(at)


def test_along_the_update_of_adam_it_is_the_curvature_that_adam_feels() -> None:
    bent = torch.tensor([10.0, 1.0], dtype=torch.float64)
    model = nn.ParameterList([torch.ones(2, dtype=torch.float64)])

    def loss(model: nn.ParameterList, _: object) -> Tensor:
        return bent @ model[0] ** 2 / 2

    adam = torch.optim.Adam(model.parameters(), lr=0.05)
    update = next_update(model, None, loss_fn=loss, optimizer=adam)
    found = critical_sharpness(
        model, None, loss_fn=loss, direction=update / 0.05, tolerance=1e-3
    )
    # Along d = −(1, 1): η_c = 2 g·d / d·Hd = 2 · 11 / 11, and 2/η_c is 1.
    assert found.value == pytest.approx(1.0, abs=found.error + 1e-6)


def test_several_batches_weigh_as_their_samples() -> None:
    model = nn.Linear(1, 1, bias=False).double()
    x = torch.linspace(0.5, 2, 7, dtype=torch.float64)[:, None]

    def loss(model: nn.Module, x: Tensor) -> Tensor:
        return model(x).square().mean() / 2

    whole = critical_sharpness(model, x, loss_fn=loss, tolerance=1e-3)
    parted = critical_sharpness(
        model, Batches([x[:5], x[5:]]), loss_fn=loss, tolerance=1e-3
    )
    exact = x.square().mean().item()
    for found in (whole, parted):
        assert abs(found.value - exact) <= found.error * (1 + 1e-9)


def test_a_direction_that_climbs_is_flagged() -> None:
    model = Curve(lambda w: w**2, 1.0)
    up = torch.ones(1, dtype=torch.float64)
    found = critical_sharpness(model, None, loss_fn=value, direction=up)
    assert not found.converged
    assert "does not descend" in found.note
    assert found.error == math.inf


def test_a_loss_that_only_falls_is_flagged() -> None:
    found = critical_sharpness(Curve(lambda w: w, 1.0), None, loss_fn=value)
    assert not found.converged
    assert found.value == 0.0
    assert "does not rise" in found.note


def test_dropout_and_batch_norm_make_no_noise() -> None:
    """The same masks and statistics at every rate, or no bracket would hold."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(4, 16),
        nn.BatchNorm1d(16),
        nn.Tanh(),
        nn.Dropout(0.5),
        nn.Linear(16, 1),
    )
    batch = torch.randn(32, 4), torch.randn(32, 1)
    once, again = (
        critical_sharpness(net, batch, loss_fn=nets.squares, tolerance=0.01)
        for _ in range(2)
    )
    assert once == again or math.isclose(once.value, again.value, rel_tol=0.05)
    assert once.converged


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"tolerance": 0.0}, "between 0 and 1"),
        ({"direction": torch.ones(2).double()}, r"shape \(2,\); expected \(1,\)"),
        ({"direction": torch.zeros(1).double()}, "stationary"),
    ],
)
def test_bad_input_is_refused(arguments, words: str) -> None:
    with pytest.raises(CurvatureError, match=words):
        critical_sharpness(Curve(lambda w: w**2, 1.0), None, loss_fn=value, **arguments)


def test_a_loss_that_is_not_finite_is_refused() -> None:
    model = Curve(lambda w: w / 0, 1.0)
    with pytest.raises(CurvatureError, match=r"loss is (inf|nan)"):
        critical_sharpness(model, None, loss_fn=value, direction=torch.ones(1).double())
