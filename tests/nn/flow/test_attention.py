"""Entropy of attention: known rows, masks, and the recorder's own share of it."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import nn

from surefoot.nn.flow import FlowError, attention_entropy, entropy_of_weights
from surefoot.probes import attention


def test_uniform_over_64_keys_is_ln_64_and_one_key_is_zero() -> None:
    assert attention_entropy(torch.zeros(2, 64)).tolist() == pytest.approx(
        [4.1589] * 2, abs=1e-4
    )
    assert math.log(64) == pytest.approx(4.1589, abs=1e-4)
    one = torch.full((64,), -torch.inf)
    one[3] = 7.0
    assert attention_entropy(one).item() == 0.0
    assert entropy_of_weights(torch.eye(64)[3]).item() == 0.0
    assert entropy_of_weights(torch.full((64,), 1 / 64)).item() == pytest.approx(
        math.log(64)
    )


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 9), st.integers(0, 5), st.integers(0, 999))
def test_masked_keys_change_nothing(keys: int, more: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, keys + more, generator=draw)
    seen = torch.arange(keys + more) < keys
    expected = attention_entropy(logits[:, :keys])
    torch.testing.assert_close(attention_entropy(logits, seen), expected)
    dense = logits.softmax(-1)
    torch.testing.assert_close(entropy_of_weights(dense, seen), expected)


def test_a_row_without_keys_has_entropy_0_and_a_finite_gradient() -> None:
    logits = torch.zeros(2, 4, requires_grad=True)
    seen = torch.tensor([[True] * 4, [False] * 4])
    found = attention_entropy(logits, seen)
    assert found[1].item() == 0.0
    found.sum().backward()
    assert torch.isfinite(logits.grad).all()
    weights = torch.eye(4).requires_grad_()
    entropy_of_weights(weights).sum().backward()
    assert torch.isfinite(weights.grad).all()


def test_gradients_are_those_of_the_formula() -> None:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, generator=draw, dtype=torch.float64, requires_grad=True)
    seen = torch.tensor([True, True, False, True, True])
    assert torch.autograd.gradcheck(lambda z: attention_entropy(z, seen), logits)
    weights = torch.rand(2, 5, generator=draw, dtype=torch.float64) + 0.1
    weights.requires_grad_()
    assert torch.autograd.gradcheck(lambda w: entropy_of_weights(w, seen), weights)


def test_weights_of_torchs_attention_can_be_given_as_they_are() -> None:
    attend = nn.MultiheadAttention(8, 2, batch_first=True)
    x = torch.randn(3, 6, 8)
    hidden = torch.arange(6) >= 4
    _, weights = attend(x, x, x, key_padding_mask=hidden.expand(3, 6))
    found = entropy_of_weights(weights, ~hidden)
    assert found.shape == (3, 6)
    assert (found <= math.log(4) + 1e-6).all()


def test_the_recorder_divides_the_same_entropy_by_that_of_uniform_rows() -> None:
    logits = torch.randn(7, 12)
    whole = attention.statistics(logits).entropy
    expected = (attention_entropy(logits) / math.log(12)).mean()
    torch.testing.assert_close(whole, expected)


@pytest.mark.parametrize("mask", [torch.ones(4), torch.ones(3, dtype=torch.bool)])
def test_a_wrong_mask_is_refused(mask: torch.Tensor) -> None:
    with pytest.raises(FlowError, match=r"expected torch\.bool"):
        attention_entropy(torch.zeros(2, 4), mask)


def test_half_precision_is_summed_in_single() -> None:
    found = attention_entropy(torch.zeros(64, dtype=torch.bfloat16))
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(math.log(64))
