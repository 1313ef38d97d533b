"""Weights are dropped with their probability; moments are those in closed form."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from conventions import keeps_conventions
from surefoot.nn.regularize import (
    DropConnect,
    RegularizeError,
    drop_connect,
    drop_connect_moments,
)
from surefoot.schedules import Linear, Vary


def products(mean: float, variance: float, *, p: float) -> torch.Tensor:
    """64 products w·v for which kept·Σwv is `mean` and p·kept·Σ(wv)² `variance`."""
    kept = 1 - p
    centre = mean / kept / 64
    spread = (variance / (p * kept) / 64 - centre**2) ** 0.5
    signs = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(32)
    return centre + spread * signs


def test_mean_and_variance_over_masks_are_those_in_closed_form() -> None:
    torch.manual_seed(0)
    v = torch.linspace(0.5, 2.0, 64, dtype=torch.float64)
    w = products(3.691, 17.892, p=0.5) / v
    mean, variance = drop_connect_moments(v[None], w[None], p=0.5)
    assert mean.item() == pytest.approx(3.691, abs=1e-9)
    assert variance.item() == pytest.approx(17.892, abs=1e-9)
    drawn = drop_connect(v.expand(100_000, -1), w[None], p=0.5)
    assert drawn.mean().item() == pytest.approx(3.691, abs=0.054)  # 4 standard errors
    assert drawn.var().item() == pytest.approx(17.892, rel=0.018)


def test_nothing_is_scaled_unless_asked() -> None:
    torch.manual_seed(0)
    x, w = torch.ones(20_000, 4), torch.ones(1, 4)
    assert drop_connect(x, w, p=0.25).mean().item() == pytest.approx(3.0, abs=0.03)
    scaled = drop_connect(x, w, p=0.25, scale=True)
    assert scaled.mean().item() == pytest.approx(4.0, abs=0.03)
    mean, variance = drop_connect_moments(x[:1], w, p=0.25, scale=True)
    assert mean.item() == 4.0
    assert variance.item() == pytest.approx(float(scaled.var()), rel=0.05)


def test_a_mask_a_sample_holds_for_all_of_the_sample() -> None:
    torch.manual_seed(0)
    x = torch.ones(16, 3, 5)
    alike = drop_connect(x, torch.ones(7, 5), p=0.5)
    assert torch.equal(alike[:, 0], alike[:, 1])
    assert not torch.equal(alike[0], alike[1])
    batch = drop_connect(x, torch.ones(7, 5), p=0.5, per_sample=False)
    assert torch.equal(batch[0], batch[1])


def test_evaluation_gives_the_mean() -> None:
    layer = DropConnect(5, 3, p=0.2).eval()
    x = torch.randn(4, 5)
    expected = functional.linear(x, 0.8 * layer.weight, layer.bias)
    torch.testing.assert_close(layer(x), expected)


def test_gaussian_inference_is_the_mean_of_the_bent_layer() -> None:
    torch.manual_seed(0)
    layer = DropConnect(
        64, 3, activation=nn.ReLU(), inference="gaussian", samples=20_000
    )
    x = torch.randn(1, 64)
    found = layer.eval()(x)
    trained = layer.train()(x.expand(20_000, -1)).mean(0, keepdim=True)
    torch.testing.assert_close(found, trained, rtol=0.05, atol=0.01)
    layer.inference = "mean"
    of_mean = layer.eval()(x)
    assert bool((found > of_mean + 0.01).any())  # ReLU is bent upwards


@settings(deadline=None, max_examples=50)
@given(
    st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.sampled_from([0.0, 1.0])
)
def test_nothing_or_everything_dropped_is_exact(
    count: int, fan_in: int, fan_out: int, p: float
) -> None:
    torch.manual_seed(0)
    x, layer = torch.randn(count, 2, fan_in), nn.Linear(fan_in, fan_out)
    found = drop_connect(x, layer.weight, layer.bias, p=p)
    expected = layer(x) if p == 0 else layer.bias.expand_as(found)
    torch.testing.assert_close(found, expected)


def test_gradients_are_those_of_the_masked_layer() -> None:
    weight = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, dtype=torch.float64, requires_grad=True)
    x = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)

    def masked(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(3)
        return drop_connect(x, w, b, p=0.5)

    def moments(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor):
        return drop_connect_moments(x, w, b, p=0.3)

    assert torch.autograd.gradcheck(masked, (x, weight, bias))
    assert torch.autograd.gradcheck(moments, (x, weight, bias))


def test_the_rate_follows_a_schedule_live() -> None:
    layer = DropConnect(2, 2, bias=False)
    vary = Vary(layer, "p", schedule=Linear(0.0, 1.0, steps=4))
    vary.begin(0)
    torch.testing.assert_close(layer(torch.eye(2)), layer.weight.T)
    vary.begin(4)
    assert not layer(torch.eye(2)).any()


def test_it_keeps_the_conventions() -> None:
    keeps_conventions(lambda: DropConnect(4, 3), torch.randn(5, 4))
    keeps_conventions(
        lambda: DropConnect(4, 3, activation=nn.Tanh(), inference="gaussian").eval(),
        torch.randn(5, 4),
    )
    keeps_conventions(
        lambda: DropConnect(4, 3, per_sample=False, scale=True),
        torch.randn(5, 4),
        exported=True,
    )


def test_an_empty_batch_and_a_single_sample_have_a_shape() -> None:
    layer = DropConnect(3, 2)
    assert layer(torch.zeros(0, 4, 3)).shape == (0, 4, 2)
    assert layer(torch.zeros(0, 3)).shape == (0, 2)
    assert layer(torch.zeros(3)).shape == (2,)


@pytest.mark.parametrize("training", [True, False])
def test_under_autocast_it_puts_out_what_a_linear_layer_does(training: bool) -> None:
    layer = DropConnect(3, 2).train(training)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(torch.randn(4, 3)).dtype == torch.bfloat16


def test_gradients_of_single_samples_are_had_by_vmap() -> None:
    layer, x = DropConnect(3, 2), torch.randn(4, 1, 3)
    weights = dict(layer.named_parameters())

    def out(weights: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, weights, (x,)).sum()

    each = torch.func.vmap(
        torch.func.grad(out), in_dims=(None, 0), randomness="different"
    )(weights, x)
    dropped = each["weight"] == 0
    assert bool((dropped | (each["weight"] == x)).all())
    assert dropped.any()
    assert not dropped.all()


def test_samples_can_be_vmapped() -> None:
    layer = DropConnect(3, 2).eval()
    x = torch.randn(4, 1, 3)
    torch.testing.assert_close(torch.vmap(layer)(x), layer(x))


def test_settings_and_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(RegularizeError, match=r"p=1\.5"):
        DropConnect(2, 2, p=1.5)
    with pytest.raises(RegularizeError, match="without an activation"):
        DropConnect(2, 2, inference="gaussian")
    with pytest.raises(RegularizeError, match="'mean' or 'gaussian'"):
        DropConnect(2, 2, inference="median")  # type: ignore[arg-type]
    with pytest.raises(RegularizeError, match="expected"):
        DropConnect(2, 2)(torch.ones(4, 3))


def test_it_is_made_on_a_device_and_in_a_dtype() -> None:
    layer = DropConnect(2, 2, device="meta", dtype=torch.bfloat16)
    assert layer.weight.is_meta
    assert layer.weight.dtype == torch.bfloat16
    assert "p=?" in repr(layer)
