"""Losses that wrong labels pull less, and what torch and others have already."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pytorch_optimizer import BiTemperedLogisticLoss
from torch import nn

from surefoot.nn.regularize import (
    RegularizeError,
    generalized_cross_entropy,
    symmetric_cross_entropy,
)

EVEN, FIRST = torch.zeros(1, 2, dtype=torch.float64), torch.tensor([0])


@pytest.mark.parametrize(
    ("q", "loss"), [(0.7, 0.54918), (1.0, 0.5), (1e-9, 0.69315), (0.0, 0.69315)]
)
def test_generalised_cross_entropy_at_one_half(q: float, loss: float) -> None:
    found = generalized_cross_entropy(EVEN, FIRST, q=q).item()
    assert found == pytest.approx(loss, abs=5e-6)


def test_small_powers_lose_no_digits() -> None:
    scores = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
    targets = torch.arange(64) % 5
    near = generalized_cross_entropy(scores, targets, q=1e-7)
    torch.testing.assert_close(near, nn.functional.cross_entropy(scores, targets))


@settings(deadline=None, max_examples=50)
@given(st.floats(0, 1), st.floats(-200, 200))
@example(1.4e-45, 0.0)
@example(1e-13, 200.0)
def test_losses_and_gradients_are_finite_at_the_ends(q: float, gap: float) -> None:
    for loss in (
        lambda s: generalized_cross_entropy(s, FIRST, q=q),
        lambda s: symmetric_cross_entropy(s, FIRST),
    ):
        scores = torch.tensor([[gap, 0.0]], requires_grad=True)
        found = loss(scores)
        found.backward()
        assert math.isfinite(found.item())
        assert bool(scores.grad.isfinite().all())
        assert found.item() >= 0


def test_a_label_that_is_not_believed_pulls_by_its_power() -> None:
    scores = torch.tensor([[-3.0, 2.0]], dtype=torch.float64, requires_grad=True)
    p = scores.softmax(-1)[0, 0].item()
    loss = generalized_cross_entropy(scores, FIRST, q=0.7)
    (ours,) = torch.autograd.grad(loss, scores)
    plain = nn.functional.cross_entropy(scores, FIRST)
    (whole,) = torch.autograd.grad(plain, scores)
    torch.testing.assert_close(ours, p**0.7 * whole)


def test_symmetric_cross_entropy_is_its_two_terms_and_bounded_in_the_second() -> None:
    scores = torch.tensor([[1.0, -0.5, 0.2]], dtype=torch.float64)
    p = scores.softmax(-1)[0, 1].item()
    target = torch.tensor([1])
    found = symmetric_cross_entropy(scores, target, alpha=0.3, beta=2.0, log_zero=-6.0)
    assert found.item() == pytest.approx(-0.3 * math.log(p) + 2.0 * 6.0 * (1 - p))
    sure_and_wrong = torch.tensor([[0.0, 500.0]])
    reverse = symmetric_cross_entropy(sure_and_wrong, FIRST, alpha=0.0)
    assert reverse.item() == pytest.approx(4.0)


def test_gradients_are_exact() -> None:
    scores = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0, 2, 1, 1])
    for loss in (generalized_cross_entropy, symmetric_cross_entropy):
        assert torch.autograd.gradcheck(lambda s, f=loss: f(s, targets), (scores,))


def test_the_power_may_be_a_tensor_that_varies_without_compiling_again() -> None:
    torch._dynamo.reset()
    loss = torch.compile(generalized_cross_entropy, fullgraph=True, backend="aot_eager")
    for q in (0.7, 1.0):
        found = loss(EVEN, FIRST, q=torch.tensor(q, dtype=torch.float64))
        expected = generalized_cross_entropy(EVEN, FIRST, q=q)
        torch.testing.assert_close(found, expected)


def test_reductions_and_half_precision() -> None:
    scores, targets = torch.randn(6, 3).bfloat16(), torch.tensor([0, 1, 2, 0, 1, 2])
    for loss in (generalized_cross_entropy, symmetric_cross_entropy):
        each = loss(scores, targets, reduction="none")
        assert each.dtype == torch.float32
        torch.testing.assert_close(loss(scores, targets), each.mean())
        torch.testing.assert_close(loss(scores, targets, reduction="sum"), each.sum())


def test_label_smoothing_of_torch_has_its_minimum_where_it_should() -> None:
    """10 classes, ε = 0.1: the gap of logits at the minimum is ln 91."""
    smooth = nn.CrossEntropyLoss(label_smoothing=0.1)
    scores = torch.zeros(1, 10, dtype=torch.float64)
    scores[0, 0] = math.log(91)
    scores.requires_grad_()
    loss = smooth(scores, torch.tensor([0]))
    loss.backward()
    assert loss.item() == pytest.approx(0.500288, abs=1e-6)
    assert scores.grad.abs().max().item() < 1e-12
    assert math.log(91) == pytest.approx(4.5109, abs=1e-4)


def test_the_bi_tempered_loss_is_had_elsewhere() -> None:
    loss = BiTemperedLogisticLoss(t1=0.8, t2=1.2)
    scores, labels = torch.tensor([[40.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    wrong = loss(scores, labels).item()
    assert wrong <= 1 / (1 - 0.8) + 1e-3  # bounded, where cross-entropy says 40


@pytest.mark.parametrize(
    "call",
    [
        lambda: generalized_cross_entropy(EVEN, FIRST, q=1.5),
        lambda: generalized_cross_entropy(EVEN[0], FIRST),
        lambda: symmetric_cross_entropy(EVEN, FIRST, log_zero=0.0),
        lambda: symmetric_cross_entropy(EVEN, torch.tensor([0, 1])),
        lambda: symmetric_cross_entropy(EVEN, FIRST, reduction="most"),  # type: ignore[arg-type]
    ],
)
def test_what_does_not_fit_is_refused(call) -> None:
    with pytest.raises(RegularizeError, match="expected"):
        call()
