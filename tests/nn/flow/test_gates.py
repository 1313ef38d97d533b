"""What activations do to gradients: closed forms, and what a simulation measures."""

from __future__ import annotations

import math
from itertools import pairwise

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import nn

from surefoot.nn.flow import FlowError, direction_change, gate_gain, gaussian_mean


def test_relu_passes_half_of_the_mean_and_half_of_the_square() -> None:
    found = gate_gain(torch.relu)
    assert found.mean == pytest.approx(0.5, abs=1e-15)
    assert found.rms**2 == pytest.approx(0.5, abs=1e-15)
    assert found.over(5).mean == pytest.approx(0.03125, abs=1e-15)
    assert found.over(5).rms == pytest.approx(0.1768, abs=5e-5)


@pytest.mark.parametrize(
    ("slope", "mean", "square"), [(0.2, 0.6, 0.52), (0.01, 0.505, 0.50005)]
)
def test_leaky_relu(slope: float, mean: float, square: float) -> None:
    found = gate_gain(nn.LeakyReLU(slope))
    assert found.mean == pytest.approx(mean, abs=1e-14)
    assert found.rms**2 == pytest.approx(square, abs=1e-14)


def test_leaky_relu_over_five_layers() -> None:
    found = gate_gain(nn.LeakyReLU(0.2)).over(5)
    assert found.mean == pytest.approx(0.07776, abs=1e-12)
    assert found.rms == pytest.approx(0.1950, abs=5e-5)
    relu = gate_gain(torch.relu).over(5)
    assert found.mean / relu.mean == pytest.approx(2.488, abs=5e-4)
    assert found.rms / relu.rms == pytest.approx(1.10, abs=5e-3)


def test_gelu() -> None:
    found = gate_gain(nn.GELU())
    assert found.mean == pytest.approx(0.5, abs=1e-13)
    assert found.rms**2 == pytest.approx(0.456, abs=5e-4)


@pytest.mark.parametrize(("std", "mean"), [(1, 0.606), (2, 0.365), (3, 0.255)])
def test_tanh_closes_as_its_inputs_grow(std: float, mean: float) -> None:
    assert gate_gain(torch.tanh, std).mean == pytest.approx(mean, abs=5e-4)


BREAKING = {
    nn.ReLU6(): lambda z: (z > 0) & (z < 6),
    nn.Hardtanh(-0.37, 0.81): lambda z: (z > -0.37) & (z < 0.81),
    nn.Threshold(0.123, 0.0): lambda z: z > 0.123,
    nn.Softshrink(0.5): lambda z: abs(z) > 0.5,
}


@pytest.mark.parametrize("activation", BREAKING, ids=repr)
@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (-0.4, 2.5), (0.3, 0.01)])
def test_slopes_that_jump_are_integrated_to_rounding(
    activation: nn.Module, mean: float, std: float
) -> None:
    edges = (-100.0, -0.5, -0.37, 0.0, 0.123, 0.5, 0.81, 6.0, 100.0)
    exact = sum(
        (_below((high - mean) / std) - _below((low - mean) / std))
        for low, high in pairwise(edges)
        if BREAKING[activation]((low + high) / 2)
    )
    found = gate_gain(activation, std, mean=mean)
    assert found.mean == pytest.approx(exact, abs=1e-12)


def _below(z: float) -> float:
    return (1 + math.erf(z / 2**0.5)) / 2


def test_gauss_hermite_would_have_missed_the_second_digit() -> None:
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    rule = float((weights * (nodes > 0.123)).sum() / weights.sum())
    assert abs(rule - gate_gain(nn.Threshold(0.123, 0.0)).mean) > 0.03


@settings(deadline=None, max_examples=25)
@given(st.floats(-3, 3), st.floats(0.01, 30))
def test_moments_of_the_distribution_itself(mean: float, std: float) -> None:
    def powers(z: torch.Tensor) -> torch.Tensor:
        return torch.stack([z**k for k in range(3)])

    found = gaussian_mean(powers, std=std, mean=mean).tolist()
    assert found == pytest.approx([1.0, mean, mean**2 + std**2], rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("activation", [nn.SiLU(), nn.ELU(), nn.PReLU(), nn.Mish()])
def test_the_gain_is_what_a_sample_has(activation: nn.Module) -> None:
    draw = torch.Generator().manual_seed(0)
    z = torch.randn(200_000, generator=draw).requires_grad_()
    (slope,) = torch.autograd.grad(activation(z).sum(), z)
    found = gate_gain(activation)
    assert found.mean == pytest.approx(float(slope.mean()), abs=5e-3)
    assert found.rms == pytest.approx(float(slope.square().mean()) ** 0.5, abs=5e-3)


def test_no_spread_is_the_slope_at_the_mean() -> None:
    assert gate_gain(torch.tanh, 0.0).mean == 1.0


@pytest.mark.parametrize(
    ("activation", "told"),
    [
        (nn.Softmax(-1), "elementwise"),
        (nn.GLU(), "elementwise"),
        (nn.Dropout(0.5), "evaluation mode"),
    ],
    ids=repr,
)
def test_what_is_no_activation_is_refused(activation: nn.Module, told: str) -> None:
    stream = torch.random.get_rng_state()
    with pytest.raises(FlowError, match=told):
        gate_gain(activation)
    assert torch.equal(stream, torch.random.get_rng_state())


@pytest.mark.parametrize("std", [-1.0, math.nan, math.inf])
def test_a_spread_that_is_none_is_refused(std: float) -> None:
    with pytest.raises(FlowError, match="std 0 or more"):
        gate_gain(torch.relu, std)


def test_a_function_that_is_not_finite_is_refused() -> None:
    with pytest.raises(FlowError, match="NaN or infinite"):
        gaussian_mean(torch.log)


# --- saturation as control of gradients -----------------------------------------


def test_saturation_turns_gradients_norm_clipping_does_not() -> None:
    """At std 3 behind tanh 0.604, theory 0.611; clipped by value at 0.5 0.877.

    The last is one draw's; the theory is 0.890.
    """
    draw = torch.Generator().manual_seed(0)
    gradient = torch.randn(512, generator=draw)
    places = 3 * torch.randn(512, generator=draw)
    theory = gate_gain(torch.tanh, 3.0).cosine
    assert theory == pytest.approx(0.611, abs=5e-4)
    found = direction_change(gradient, places)
    assert found.gated == pytest.approx(0.604, abs=0.04)
    assert found.gated == pytest.approx(theory, abs=0.04)
    assert found.norm_clipped == 1.0
    assert found.value_clipped == pytest.approx(0.877, abs=0.02)


def test_in_many_dimensions_the_turn_is_the_one_of_the_gate_gain() -> None:
    draw = torch.Generator().manual_seed(0)
    gradient, places = torch.randn(2, 400_000, generator=draw)
    found = direction_change(gradient, 3 * places, max_norm=0.1)
    assert found.gated == pytest.approx(gate_gain(torch.tanh, 3.0).cosine, abs=3e-3)
    kept = gaussian_mean(lambda g: g * g.clamp(-0.5, 0.5))
    left = gaussian_mean(lambda g: g.clamp(-0.5, 0.5).square())
    assert found.value_clipped == pytest.approx(float(kept / left.sqrt()), abs=2e-3)
    assert float(kept / left.sqrt()) == pytest.approx(0.8900, abs=5e-5)


@pytest.mark.parametrize(
    ("gradient", "named", "told"),
    [
        (torch.ones(2), {}, "same shape"),
        (torch.zeros(3), {}, "norm 0.0"),
        (torch.full((3,), torch.nan), {}, "norm nan"),
        (torch.ones(3), {"max_norm": 0.0}, "above 0"),
    ],
)
def test_wrong_gradients_are_refused(
    gradient: torch.Tensor, named: dict[str, float], told: str
) -> None:
    with pytest.raises(FlowError, match=told):
        direction_change(gradient, torch.ones(3), **named)
