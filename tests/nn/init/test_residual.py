"""Residual branches start small enough for their number: the factors, the identity."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import Tensor, nn

from conventions import keeps_conventions
from surefoot.nn.init import (
    DeepNormResidual,
    InitError,
    LayerScale,
    Residual,
    SkipInit,
    deepnorm,
    deepnorm_,
    fixup_,
    fixup_factor,
    zero_gamma_,
    zero_last_,
)


def branch(width: int = 6) -> nn.Module:
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))


def test_deepnorm_of_24_layers_is_alpha_2_6321_and_beta_0_2686() -> None:
    alpha, beta = deepnorm(24)
    assert alpha == pytest.approx(2.6321, abs=5e-5)
    assert beta == pytest.approx(0.2686, abs=5e-5)


def test_fixup_of_18_branches_of_2_layers_is_0_2357() -> None:
    assert fixup_factor(18, 2) == pytest.approx(0.2357, abs=5e-5)


@given(depth=some.integers(1, 8), width=some.integers(1, 9), seed=some.integers(0, 99))
@settings(deadline=None, max_examples=20)
def test_gate_zero_makes_a_stack_the_identity_bit_exact(
    depth: int, width: int, seed: int
) -> None:
    torch.manual_seed(seed)
    stack = nn.Sequential(*(Residual(branch(width), SkipInit()) for _ in range(depth)))
    x = torch.randn(4, width)
    assert torch.equal(stack(x), x)


@pytest.mark.parametrize("how", ["gamma", "last", "fixup"])
def test_a_branch_that_ends_in_zero_makes_the_block_the_identity(how: str) -> None:
    torch.manual_seed(0)
    inner = nn.Sequential(branch(), nn.BatchNorm1d(6)) if how == "gamma" else branch()
    if how == "fixup":
        assert fixup_([inner]) == (1.0,)
    else:
        assert {"gamma": zero_gamma_, "last": zero_last_}[how](inner)
    x = torch.randn(5, 6)
    assert torch.equal(Residual(inner)(x), x)


def test_fixup_scales_all_layers_of_a_branch_but_the_last() -> None:
    torch.manual_seed(0)
    branches = [
        nn.Sequential(nn.Conv2d(2, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3))
        for _ in range(18)
    ]
    before = branches[3][0].weight.detach().clone()
    bias = branches[3][0].bias.detach().clone()
    factors = fixup_(branches)
    assert factors == pytest.approx([0.235702] * 18, abs=1e-6)
    torch.testing.assert_close(branches[3][0].weight, before * 18**-0.5)
    assert torch.equal(branches[3][0].bias, bias)
    assert not branches[3][2].weight.any()
    assert not branches[3][2].bias.any()


def test_layer_scale_starts_at_1e_5_for_each_feature() -> None:
    scale = LayerScale(3)
    assert torch.equal(scale.gamma, torch.full((3,), 1e-5))
    images = LayerScale(3, 0.5, dim=1)(torch.ones(2, 3, 4, 4))
    assert torch.equal(images, torch.full((2, 3, 4, 4), 0.5))


@pytest.mark.parametrize("separate", [False, True])
def test_deepnorm_draws_values_and_outputs_with_beta_and_queries_with_one(
    separate: bool,
) -> None:
    torch.manual_seed(0)
    width = 128
    sizes = {"kdim": width + 1, "vdim": width + 1} if separate else {}
    attention = nn.MultiheadAttention(width, 4, **sizes)
    linear = nn.Linear(width, width)
    count = deepnorm_(nn.ModuleList([attention, linear]), 24)
    assert count == 3  # value, output, linear
    if separate:
        parts = [attention.q_proj_weight, attention.k_proj_weight]
        value: Tensor = attention.v_proj_weight
    else:
        *parts, value = attention.in_proj_weight.chunk(3)
    beta = deepnorm(24).beta
    drawn = [*((part, 1.0) for part in parts), (value, beta)]
    drawn += [(attention.out_proj.weight, beta), (linear.weight, beta)]
    for weight, gain in drawn:
        std = gain * (2 / sum(weight.shape)) ** 0.5
        assert weight.std().item() == pytest.approx(std, rel=0.03)
    assert not linear.bias.any()
    assert not attention.in_proj_bias.any()


def _change_by_an_update(layers: int, depth: int) -> float:
    """How far a small update of the matrices moves the output of a stack."""
    torch.manual_seed(0)
    blocks = (DeepNormResidual(branch(32), nn.LayerNorm(32), depth=depth)
              for _ in range(layers))  # fmt: skip
    stack = nn.Sequential(*blocks).double()
    deepnorm_(stack, depth)
    x, to = torch.randn(2, 64, 32).double()
    before = stack(x)
    (before * to).sum().backward()
    with torch.no_grad():
        for weight in stack.parameters():
            weight -= 1e-7 * weight.grad * (weight.dim() == 2)
    return (stack(x) - before).norm().item()


def test_an_update_moves_a_deepnorm_stack_as_little_at_any_depth() -> None:
    """Wang 2022: bounded for its own N; with the start of a shallow one it grows."""
    own = _change_by_an_update(64, 64) / _change_by_an_update(8, 8)
    shallow = _change_by_an_update(64, 1) / _change_by_an_update(8, 1)
    assert 0.8 < own < 1.25  # 0.96
    assert shallow > 8  # 15.5


@pytest.mark.parametrize(
    "make",
    [
        lambda: SkipInit(0.3),
        lambda: LayerScale(6, 0.1),
        lambda: Residual(branch()),
        lambda: Residual(branch(), LayerScale(6, 0.1)),
        lambda: DeepNormResidual(branch(), nn.LayerNorm(6), depth=6),
    ],
)
def test_conventions(make) -> None:
    torch.manual_seed(0)
    keeps_conventions(make, torch.randn(5, 6), exported=True)


def test_gradients() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    gate, scale = SkipInit(0.3).double(), LayerScale(4, 0.2).double()
    for module in (gate, scale, Residual(gate, scale)):
        assert torch.autograd.gradcheck(module, x)


def test_gradients_of_samples_by_torch_func() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        Residual(branch(), LayerScale(6, 0.1)), Residual(branch(), SkipInit(0.2)),
        DeepNormResidual(branch(), nn.LayerNorm(6), depth=2),
    )  # fmt: skip
    weights = dict(module.named_parameters())
    x = torch.randn(5, 6)

    def loss(weights: dict[str, Tensor], one: Tensor) -> Tensor:
        return torch.func.functional_call(module, weights, (one,)).square().sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(weights, x)
    for place, one in enumerate(x):
        module.zero_grad()
        loss(weights, one).backward()
        for name, weight in weights.items():
            torch.testing.assert_close(each[name][place], weight.grad)


def test_reset_puts_gates_back() -> None:
    for module in (SkipInit(0.2), LayerScale(3, 0.2)):
        (weight,) = module.parameters()
        before = weight.detach().clone()
        with torch.no_grad():
            weight.add_(1.0)
        module.reset_parameters()
        assert torch.equal(weight, before)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: deepnorm(0), "n=0 came"),
        (lambda: fixup_factor(3, 1), "two layers or more"),
        (lambda: fixup_([]), "no branch came"),
        (lambda: fixup_([nn.ReLU()]), "without a layer"),
        (lambda: zero_gamma_(branch()), "without a normalisation"),
        (lambda: deepnorm_(nn.ReLU(), 3), "expected a transformer's layer"),
        (lambda: Residual(nn.Linear(4, 1))(torch.ones(2, 4)), r"\(2, 4\) to \(2, 1\)"),
        (lambda: Residual(nn.LSTM(4, 4))(torch.ones(2, 4)), "gave a tuple"),
        (lambda: LayerScale(3)(torch.ones(3, 4)), "expected 3; set dim="),
    ],
)
def test_what_cannot_be_is_refused(wrong, message: str) -> None:
    with pytest.raises(InitError, match=message):
        wrong()
