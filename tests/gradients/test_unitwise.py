"""Clipping by units, beside the reference code."""

from __future__ import annotations

import pytest
import torch
from pytorch_optimizer.optimizer.agc import agc
from torch import Tensor, nn

from surefoot.gradients import ClipError, UnitwiseClip, unitwise_clip_


def parameter(*shape: int, seed: int = 0, size: float = 1.0) -> nn.Parameter:
    source = torch.Generator().manual_seed(seed)
    weight = nn.Parameter(torch.randn(shape, generator=source))
    weight.grad = size * torch.randn(shape, generator=source)
    return weight


def test_a_unit_of_norm_2_is_cut_to_0_02() -> None:
    weight = nn.Parameter(torch.ones(1, 4))
    weight.grad = torch.full((1, 4), 5.0)
    assert weight.grad.norm().item() == 10.0
    unitwise_clip_(weight)
    assert weight.grad.norm().item() == pytest.approx(0.02, rel=1e-6)


@pytest.mark.parametrize("shape", [(), (7,), (5, 3), (6, 4, 3, 3)])
@pytest.mark.parametrize("size", [1e-3, 0.01, 1.0, 100.0])
def test_it_is_pytorch_optimizers(shape: tuple[int, ...], size: float) -> None:
    weight = parameter(*shape, size=size)
    expected = agc(weight.detach(), weight.grad.clone())
    unitwise_clip_(weight)
    torch.testing.assert_close(weight.grad, expected)


def test_units_that_are_short_enough_keep_their_bits() -> None:
    weight = parameter(4, 3, size=1e-4)
    weight.grad[2] *= 1e4
    before = weight.grad.clone()
    unitwise_clip_(weight)
    assert torch.equal(weight.grad[[0, 1, 3]], before[[0, 1, 3]])
    limit = 0.01 * weight.detach()[2].norm()
    torch.testing.assert_close(weight.grad[2].norm(), limit)


def test_a_filter_of_one_axis_is_a_unit_as_one_of_two_is() -> None:
    narrow, wide = parameter(4, 3, 5), parameter(4, 3, 5)
    wide = nn.Parameter(wide.detach().unsqueeze(2))
    wide.grad = narrow.grad.unsqueeze(2).clone()
    unitwise_clip_([narrow, wide])
    torch.testing.assert_close(narrow.grad, wide.grad.squeeze(2))


def test_weights_of_zero_can_move_by_eps() -> None:
    weight = nn.Parameter(torch.zeros(1, 4))
    weight.grad = torch.ones(1, 4)
    unitwise_clip_(weight, 0.1, eps=0.5)
    assert weight.grad.norm().item() == pytest.approx(0.05)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes_keep_theirs(dtype: torch.dtype) -> None:
    weight = nn.Parameter(torch.ones(2, 64, dtype=dtype))
    weight.grad = torch.full((2, 64), 3e4, dtype=dtype)
    unitwise_clip_([weight])
    assert weight.grad.dtype == dtype
    rows = weight.grad.double().norm(dim=1)
    assert rows.tolist() == pytest.approx([0.08, 0.08], rel=1e-2)


def test_the_norm_that_comes_back_is_that_of_all_gradients() -> None:
    weights = [parameter(3, 2), parameter(5, seed=1), parameter(2, 2, 2, seed=2)]
    every: list[Tensor] = [one.grad.flatten() for one in weights]
    expected = torch.cat(every).norm()
    torch.testing.assert_close(UnitwiseClip()(weights), expected)


def test_sparse_gradients_are_refused_before_anything_is_clipped() -> None:
    table = nn.Embedding(5, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    other = parameter(3, 2)
    before = other.grad.clone()
    with pytest.raises(ClipError, match="dense"):
        unitwise_clip_([other, table.weight])
    assert torch.equal(other.grad, before)
    with pytest.raises(ClipError, match=r"clipping=-1.0 came"):
        unitwise_clip_(other, -1.0)
