"""Units whose weights are longer than the cap land on it, others keep every bit."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from surefoot.nn.regularize import MaxNorm, RegularizeError, max_norm_
from surefoot.schedules import Linear, after_step


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.floats(0.2, 4.0))
def test_rows_above_the_cap_land_on_it_and_others_are_byte_equal(
    seed: int, cap: float
) -> None:
    stream = torch.Generator().manual_seed(seed)
    weight = torch.randn(8, 5, generator=stream, dtype=torch.float64)
    before = weight.clone()
    lengths = max_norm_(weight, cap)
    torch.testing.assert_close(lengths, before.norm(dim=1))
    above = before.norm(dim=1) > cap
    torch.testing.assert_close(
        weight[above].norm(dim=1),
        torch.full_like(lengths[above], cap),
        rtol=1e-12,
        atol=0,
    )
    assert torch.equal(weight[~above], before[~above])
    torch.testing.assert_close(  # the direction stays
        weight[above] / cap, before[above] / before[above].norm(dim=1, keepdim=True)
    )


def test_zeros_stay_zeros_and_half_precision_is_capped_in_float32() -> None:
    weight = torch.full((2, 4096), 10.0, dtype=torch.float16)  # its square overflows
    weight[1] = 0
    max_norm_(weight, 1.0)
    assert weight[0].float().norm().item() == pytest.approx(1.0, rel=1e-2)
    assert not weight[1].any()


def test_what_is_not_finite_is_left_to_be_found() -> None:
    weight = torch.tensor([[torch.inf, 1.0], [torch.nan, 1.0], [3.0, 4.0]])
    before = weight.clone()
    max_norm_(weight, 1.0)
    torch.testing.assert_close(weight[:2], before[:2], equal_nan=True, rtol=0, atol=0)
    assert weight[2].norm().item() == pytest.approx(1.0)


def test_convolutions_count_units_where_their_weights_do() -> None:
    plain, transposed = nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(3, 4, 3)
    model = nn.Sequential(plain, transposed)
    with torch.no_grad():
        plain.weight.mul_(100)
        transposed.weight.mul_(100)
    sgd = torch.optim.SGD(model.parameters(), lr=0.0)
    with after_step(sgd, MaxNorm(model, cap=0.5)) as handle:
        plain.weight.grad = torch.zeros_like(plain.weight)
        sgd.step()
    by_unit = plain.weight.flatten(1).norm(dim=1)
    across = transposed.weight.transpose(0, 1).flatten(1).norm(dim=1)
    torch.testing.assert_close(by_unit, torch.full((4,), 0.5))
    torch.testing.assert_close(across, torch.full((4,), 0.5))
    assert handle.log[-1].body["capped"] == 8


def test_the_cap_follows_a_schedule_and_says_nothing_where_nothing_is_done() -> None:
    layer = nn.Linear(4, 4, bias=False)
    nn.init.constant_(layer.weight, 1.0)  # of length 2
    sgd = torch.optim.SGD(layer.parameters(), lr=0.0)
    layer.weight.grad = torch.zeros_like(layer.weight)
    action = MaxNorm(layer, cap=Linear(4.0, 1.0, steps=3))
    handle = after_step(sgd, action)
    for _ in range(3):
        sgd.step()
    assert [event.step for event in handle.log] == [3]
    assert layer.weight.norm(dim=1).tolist() == pytest.approx([1.0] * 4)


def test_tied_weights_are_capped_once_and_parametrised_ones_left_alone() -> None:
    first = nn.Linear(3, 3)
    second = nn.Linear(3, 3)
    second.weight = first.weight
    model = nn.Sequential(first, second, weight_norm(nn.Linear(3, 3)))
    assert len(MaxNorm(model, cap=1.0).weights) == 1


def test_weight_norm_of_torch_ties_length_and_direction_apart() -> None:
    layer = weight_norm(nn.Linear(3, 2), dim=0)
    gains = layer.parametrizations.weight.original0
    nn.init.constant_(gains, 2.0)
    torch.testing.assert_close(layer.weight.norm(dim=1), torch.full((2,), 2.0))


def test_what_cannot_be_capped_is_refused_untouched() -> None:
    bias = torch.ones(3)
    with pytest.raises(RegularizeError, match="two dimensions"):
        max_norm_(bias, 0.1)
    assert torch.equal(bias, torch.ones(3))
    weight = torch.ones(2, 2)
    with pytest.raises(RegularizeError, match="above 0"):
        max_norm_(weight, 0.0)
    assert torch.equal(weight, torch.ones(2, 2))
    with pytest.raises(RegularizeError, match="no weights"):
        MaxNorm(nn.ReLU(), cap=1.0)
    grouped = nn.ConvTranspose2d(4, 4, 3, groups=2)
    with pytest.raises(RegularizeError, match="groups"):
        MaxNorm(grouped, cap=1.0)


def test_a_copied_model_is_not_capped_by_the_first_ones_action() -> None:
    layer = nn.Linear(2, 2)
    action = MaxNorm(layer, cap=0.01)
    other = copy.deepcopy(layer)
    before = other.weight.clone()
    action(1)
    assert torch.equal(other.weight, before)
    assert layer.weight.norm(dim=1).max() <= 0.0101
