"""Distances to the boundary: exact for linear scores, linearised for nets."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from surefoot.nn.regularize import (
    RegularizeError,
    flip_distance,
    large_margin_loss,
    linear_margin,
)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000))
def test_the_margin_of_a_linear_classifier_is_exact(seed: int) -> None:
    stream = torch.Generator().manual_seed(seed)
    x, w = torch.randn(6, 3, generator=stream), torch.randn(3, generator=stream)
    b = torch.randn((), generator=stream)
    expected = (x @ w + b).abs() / w.norm()
    torch.testing.assert_close(linear_margin(x, w, b), expected)
    targets = torch.tensor([1, -1, 1, -1, 1, -1])
    signed = linear_margin(x, w, b, targets=targets)
    torch.testing.assert_close(signed, targets * (x @ w + b) / w.norm())


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000))
def test_moving_by_the_margin_reaches_the_boundary(seed: int) -> None:
    stream = torch.Generator().manual_seed(seed)
    x = torch.randn(5, 4, generator=stream, dtype=torch.float64)
    w = torch.randn(3, 4, generator=stream, dtype=torch.float64)
    b = torch.randn(3, generator=stream, dtype=torch.float64)
    far = linear_margin(x, w, b)
    ways = torch.randn(200, 4, generator=stream, dtype=torch.float64)
    ways = ways / ways.norm(dim=1, keepdim=True)
    inside = x[:, None] + 0.999 * far[:, None, None] * ways
    same = (inside @ w.T + b).argmax(-1) == (x @ w.T + b).argmax(-1)[:, None]
    assert bool(same.all())
    gaps = (x @ w.T + b).topk(2).indices
    for row, (first, second) in enumerate(gaps.tolist()):
        slope = w[first] - w[second]
        gap = (x @ w.T + b)[row, first] - (x @ w.T + b)[row, second]
        assert far[row] <= gap / slope.norm() + 1e-12


def test_margins_in_other_norms_use_the_dual_one() -> None:
    gap, slope = torch.tensor(2.0), torch.tensor([3.0, -4.0])
    assert flip_distance(gap, slope, norm="linf").item() == pytest.approx(2 / 7)
    assert flip_distance(gap, slope, norm="l1").item() == pytest.approx(0.5)
    assert flip_distance(gap, torch.zeros(2)).item() == torch.inf
    assert flip_distance(-gap, torch.zeros(2)).item() == -torch.inf


def test_margins_have_gradients() -> None:
    x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    w = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    b = torch.randn(4, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0, 3, 1])
    assert torch.autograd.gradcheck(
        lambda x, w, b: linear_margin(x, w, b, targets=targets), (x, w, b)
    )


def test_the_large_margin_loss_of_a_linear_net_is_the_hinge_on_its_margin() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(5, 3)
    x, targets = torch.randn(16, 5, requires_grad=True), torch.randint(3, (16,))
    loss = large_margin_loss(layer(x), targets, [x], margin=1.0, competitors=2)
    margins = linear_margin(x, layer.weight, layer.bias, targets=targets)
    torch.testing.assert_close(loss, (1.0 - margins).clamp(min=0).mean())


def test_layers_add_up_and_are_each_in_their_own_unit() -> None:
    torch.manual_seed(0)
    first, last = nn.Linear(4, 6), nn.Linear(6, 3)
    x = torch.randn(8, 4, requires_grad=True)
    hidden = torch.tanh(first(x))
    scores, targets = last(hidden), torch.randint(3, (8,))
    both = large_margin_loss(scores, targets, [x, hidden], margin=2.0)
    alone = [large_margin_loss(scores, targets, [h], margin=2.0) for h in (x, hidden)]
    torch.testing.assert_close(both, alone[0] + alone[1])
    both.backward()
    assert first.weight.grad is not None


def test_training_on_it_widens_the_margin() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 2)
    targets = (x[:, 0] + 0.3 * x[:, 1] > 0).long()
    x = x + 0.6 * (2 * targets[:, None] - 1) * torch.tensor([1.0, 0.3])
    net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
    adam = torch.optim.Adam(net.parameters(), lr=0.02)
    held = []
    for _ in range(80):
        leaf = x.clone().requires_grad_()
        loss = large_margin_loss(net(leaf), targets, [leaf], margin=1.0)
        held.append(loss.item())
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert held[-1] < 0.6 * held[0]


def test_margins_of_torch_are_in_scores_not_in_distances() -> None:
    scores, target = torch.tensor([[2.0, 0.5]]), torch.tensor([0])
    loss = nn.functional.multi_margin_loss(scores, target, margin=2.0)
    assert loss.item() == pytest.approx((2.0 - 1.5) / 2)  # over the number of classes


def test_what_has_no_margin_is_refused() -> None:
    x = torch.randn(2, 3)
    with pytest.raises(RegularizeError, match=r"\[N, d\]"):
        linear_margin(x, torch.randn(4))
    with pytest.raises(RegularizeError, match="without a graph"):
        large_margin_loss(torch.randn(2, 3), torch.tensor([0, 1]), [x])
    leaf = torch.randn(2, 3, requires_grad=True)
    with pytest.raises(RegularizeError, match="competitor"):
        large_margin_loss(leaf * 1, torch.tensor([0, 1]), [leaf], competitors=3)
    other = torch.randn(2, 3, requires_grad=True)
    with pytest.raises(RegularizeError, match="do not depend"):
        large_margin_loss(leaf * 1, torch.tensor([0, 1]), [other])
    with pytest.raises(RegularizeError, match="l1, l2, linf"):
        flip_distance(torch.ones(()), torch.ones(2), norm="l3")  # type: ignore[arg-type]
