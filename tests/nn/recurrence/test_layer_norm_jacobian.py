"""The Jacobian of layer norm is a projection over σ."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import jacrev, vmap

from surefoot.nn.norm import NormError, layer_norm_jacobian


def test_its_singular_values_are_one_over_sigma_and_zero_twice() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, dtype=torch.float64) * 3
    jacobian = layer_norm_jacobian(x, eps=0.0)
    values = torch.linalg.svdvals(jacobian) * x.std(correction=0)
    torch.testing.assert_close(values[:62], torch.ones(62, dtype=torch.float64))
    assert values[62:].max() < 1e-12


@settings(max_examples=20, deadline=None)
@given(
    size=st.integers(2, 9),
    eps=st.sampled_from([1e-5, 0.1, 1.0]),
    gained=st.booleans(),
    seed=st.integers(0, 99),
)
def test_it_is_the_derivative_of_the_layer_of_torch(
    size: int, eps: float, gained: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    layer = nn.LayerNorm(size, eps=eps, dtype=torch.float64)
    x = torch.randn(3, size, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(size) if gained else torch.ones(size))
    found = layer_norm_jacobian(x, layer.weight.detach() if gained else None, eps=eps)
    torch.testing.assert_close(found, vmap(jacrev(layer))(x))


def test_its_gradients_are_those_of_differences() -> None:
    x = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    gain = torch.randn(4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer_norm_jacobian, (x, gain))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(NormError, match=r"a gain of shape \[3\] came; expected \[4\]"):
        layer_norm_jacobian(torch.ones(4), torch.ones(3))
    with pytest.raises(NormError, match="features"):
        layer_norm_jacobian(torch.tensor(1.0))
