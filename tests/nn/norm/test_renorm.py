"""Batch renormalisation: between batch norm and evaluation, exactly at both ends."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from conventions import keeps_conventions
from surefoot.nn.norm import (
    BatchRenorm1d,
    BatchRenorm2d,
    BatchRenorm3d,
    NormError,
    batch_renorm,
)
from surefoot.schedules import Linear, Vary, after_step

AT_ONCE = (0, 0, 0)
NO_LIMITS = (math.inf, math.inf)
KINDS = (
    (BatchRenorm1d, nn.BatchNorm1d, (6, 5)),
    (BatchRenorm1d, nn.BatchNorm1d, (3, 5, 7)),
    (BatchRenorm2d, nn.BatchNorm2d, (4, 5, 3, 3)),
    (BatchRenorm3d, nn.BatchNorm3d, (2, 5, 2, 2, 3)),
)


def batch(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 + 2 * torch.randn(shape, generator=generator)


def with_odd_weights(layer: nn.Module) -> nn.Module:
    with torch.no_grad():
        for seed, weight in enumerate(layer.parameters()):
            weight.copy_(batch(tuple(weight.shape), seed) - 3)
    return layer


@pytest.mark.parametrize(("ours", "torchs", "shape"), KINDS)
def test_with_limits_1_and_0_it_is_batch_norm(ours, torchs, shape) -> None:
    left = with_odd_weights(ours(5, limits=(1.0, 0.0), ramp=AT_ONCE, momentum=0.1))
    right = torchs(5)
    right.load_state_dict(left.state_dict())
    for seed in range(3):
        x = batch(shape, seed)
        y, z = x.clone().requires_grad_(), x.clone().requires_grad_()
        one, other = left(y), right(z)
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)
        found = torch.autograd.grad(one.sin().sum(), (y, *left.parameters()))
        expected = torch.autograd.grad(other.sin().sum(), (z, *right.parameters()))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    for name, value in right.state_dict().items():
        torch.testing.assert_close(left.state_dict()[name], value)
    torch.testing.assert_close(left.eval()(x), right.eval()(x))


@pytest.mark.parametrize(("ours", "torchs", "shape"), KINDS)
def test_without_limits_training_is_evaluation_before_the_update(
    ours, torchs, shape
) -> None:
    layer = with_odd_weights(ours(5, limits=NO_LIMITS, ramp=AT_ONCE))
    layer(batch(shape, 0))
    evaluated = copy.deepcopy(layer).eval()
    x = batch(shape, 1)
    torch.testing.assert_close(layer(x), evaluated(x), rtol=1e-5, atol=1e-5)


def test_the_ramp_never_exceeds_its_end() -> None:
    layer = BatchRenorm1d(2, ramp=(5, 15, 10))
    assert layer.num_batches_tracked is not None
    shares: list[tuple[float, float]] = []
    for step in range(60):
        layer.num_batches_tracked.fill_(step)
        r, d = (limit.item() for limit in layer.limits())
        shares.append(((r - 1) / 2, d / 5))
    assert shares[:6] == [(0.0, 0.0)] * 6
    assert shares[10] == pytest.approx((0.5, 1.0))
    assert max(max(pair) for pair in shares) == 1.0
    assert shares[15:] == [(1.0, 1.0)] * 45


def test_the_papers_ramp_is_the_default() -> None:
    layer = BatchRenorm1d(2)
    assert layer.num_batches_tracked is not None
    found = []
    for step in (5_000, 15_000, 25_000, 40_000, 90_000):
        layer.num_batches_tracked.fill_(step)
        found.append(tuple(round(one.item(), 4) for one in layer.limits()))
    assert found == [(1.0, 0.0), (1.5714, 2.5), (2.1429, 5.0), (3.0, 5.0), (3.0, 5.0)]


@pytest.mark.parametrize("shape", [(4, 4, 100), (4, 4, 10, 10), (64, 4)])
def test_the_running_variance_is_that_of_the_values(shape) -> None:
    kind = BatchRenorm2d if len(shape) == 4 else BatchRenorm1d
    layer, x = kind(4, momentum=1.0), batch(shape)
    layer(x)
    assert layer.running_var is not None
    expected = x.transpose(0, 1).flatten(1).var(1)
    ratio = layer.running_var / expected
    assert ratio.tolist() == pytest.approx([1.0] * 4, abs=1e-5)


def test_what_comes_out_follows_the_formula_between_the_ends() -> None:
    x = batch((8, 3))
    running = (torch.tensor([0.0, 3.0, 3.1]), torch.tensor([100.0, 4.0, 0.01]))
    found = batch_renorm(x, running=running, limits=(1.5, 0.2)).values
    mean, sigma = x.mean(0), (x.var(0, correction=0) + 1e-5).sqrt()
    of = (running[1] + 1e-5).sqrt()
    r = (sigma / of).clamp(1 / 1.5, 1.5)
    d = ((mean - running[0]) / of).clamp(-0.2, 0.2)
    torch.testing.assert_close(found, (x - mean) / sigma * r + d)


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 3)])
def test_gradients_of_both_orders_hold_r_and_d_fixed(shape) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64, generator=generator)
    weights = torch.randn(2, 3, dtype=torch.float64, generator=generator)
    running = (torch.zeros(3).double(), torch.full((3,), 2.0).double())
    # Both at their limits, where r and d do not vary with x either.
    limits = (1.0, 0.0)
    given = tuple(one.clone().requires_grad_() for one in (x, *weights))

    def output(x: Tensor, *affine: Tensor) -> Tensor:
        return batch_renorm(x, running=running, limits=limits, affine=affine).values

    assert torch.autograd.gradcheck(output, given)
    assert torch.autograd.gradgradcheck(output, given)


def test_the_gradient_is_that_of_the_formula_with_constants() -> None:
    x = batch((8, 3)).double().requires_grad_()
    weight, bias = (batch((3,), seed).double().requires_grad_() for seed in (1, 2))
    running = (torch.zeros(3).double(), torch.full((3,), 2.0).double())
    found = batch_renorm(x, running=running, limits=NO_LIMITS, affine=(weight, bias))
    mean, sigma = x.mean(0), (x.var(0, correction=0) + 1e-5).sqrt()
    of = (running[1] + 1e-5).sqrt()
    r, d = (sigma / of).detach(), ((mean - running[0]) / of).detach()
    other = weight * ((x - mean) / sigma * r + d) + bias
    torch.testing.assert_close(found.values, other)
    given = (x, weight, bias)
    one = torch.autograd.grad(found.values.sin().sum(), given, create_graph=True)
    two = torch.autograd.grad(other.sin().sum(), given, create_graph=True)
    torch.testing.assert_close(one, two)
    second = [
        torch.autograd.grad(sum(g.cos().sum() for g in pair), given)
        for pair in (one, two)
    ]
    torch.testing.assert_close(*second)


def test_how_maps_lie_in_memory_does_not_matter() -> None:
    x = batch((4, 5, 3, 3))
    found = []
    for memory in (torch.contiguous_format, torch.channels_last):
        layer = with_odd_weights(BatchRenorm2d(5, ramp=AT_ONCE))
        layer(x)
        leaf = x.clone(memory_format=memory).requires_grad_()
        out = layer(leaf)
        given = (leaf, *layer.parameters())
        grads = torch.autograd.grad(out.sin().sum(), given)
        found.append((out, *grads, layer.running_mean, layer.running_var))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def test_its_limits_follow_a_schedule() -> None:
    layer = BatchRenorm1d(2, ramp=AT_ONCE)
    layer(batch((4, 2)))
    sgd = torch.optim.SGD(layer.parameters(), lr=0.0)
    with after_step(sgd, Vary(layer, "r_max", schedule=Linear(1.0, 3.0, steps=4))):
        assert layer.limits()[0].item() == 1.0
        sgd.step()
        sgd.step()
        assert layer.limits()[0].item() == 2.0


def test_it_can_be_made_without_memory_and_filled_later() -> None:
    layer = BatchRenorm1d(3, limits=(2.0, 1.0), device="meta")
    layer.to_empty(device="cpu")
    layer.reset_parameters()
    found = [layer.r_max.item(), layer.d_max.item(), layer.running_var.tolist()]
    assert found == [2.0, 1.0, [1.0, 1.0, 1.0]]


def test_a_batch_norm_lends_its_state() -> None:
    trained = nn.BatchNorm2d(3)
    trained(batch((4, 3, 5, 5)))
    layer = BatchRenorm2d(3)
    layer.load_state_dict(trained.state_dict())
    x = batch((2, 3, 5, 5), 1)
    torch.testing.assert_close(layer.eval()(x), trained.eval()(x))


@pytest.mark.parametrize(("ours", "torchs", "shape"), KINDS)
def test_conventions(ours, torchs, shape) -> None:
    keeps_conventions(lambda: ours(5, ramp=AT_ONCE), batch(shape), exported=True)


# --- what is refused ------------------------------------------------------------


@pytest.mark.parametrize(
    ("of", "told"),
    [
        ({"limits": (0.9, 1.0)}, "r_max of 1 or more"),
        ({"limits": (1.0, -1.0)}, "d_max of 0 or more"),
        ({"limits": (math.nan, 1.0)}, "r_max of 1 or more"),
        ({"ramp": (10, 5, 20)}, "no less than the first"),
        ({"track_running_stats": False}, "use a batch norm"),
    ],
)
def test_settings_that_cannot_be_are_refused(of: dict, told: str) -> None:
    with pytest.raises(NormError, match=told):
        BatchRenorm1d(3, **of)


def test_a_batch_of_one_is_refused_and_changes_nothing() -> None:
    layer = BatchRenorm1d(3)
    before = copy.deepcopy(layer.state_dict())
    with pytest.raises(NormError, match="two or more"):
        layer(torch.ones(1, 3))
    with pytest.raises(NormError, match=r"expected \[N, C\]"):
        layer(torch.ones(2, 3, 4, 4))
    for name, value in before.items():
        assert torch.equal(layer.state_dict()[name], value)
    assert torch.isfinite(layer.eval()(torch.ones(1, 3))).all()
