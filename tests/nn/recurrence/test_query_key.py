"""Logits of attention are bounded whatever comes in."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from conventions import keeps_conventions
from surefoot.nn.norm import NormError, QKNorm, qk_norm


def _logits(query: Tensor, key: Tensor) -> Tensor:
    """As `scaled_dot_product_attention` makes them."""
    return query @ key.mT / query.shape[-1] ** 0.5


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 64),
    exponents=st.tuples(st.integers(-30, 30), st.integers(-30, 30)),
    scale=st.floats(0.1, 90),
    seed=st.integers(0, 1_000),
)
def test_no_logit_exceeds_the_scale_for_any_input(
    size: int, exponents: tuple[int, int], scale: float, seed: int
) -> None:
    torch.manual_seed(seed)
    query, key = torch.randn(2, 2, 4, 6, size)
    query = query * 10.0 ** exponents[0]
    key = torch.where(torch.rand(4, 6, 1) < 0.5, query.sign() * key.abs(), key)
    key = key * 10.0 ** exponents[1]
    norm = QKNorm(heads=4, scale=scale)
    logits = _logits(*norm(query, key))
    assert logits.abs().max() <= scale * (1 + 1e-5)


def test_ten_thousand_times_the_input_changes_nothing() -> None:
    query, key = torch.randn(2, 3, 5, 8)
    norm = QKNorm()
    logits, larger = _logits(*norm(query, key)), _logits(*norm(query * 1e4, key * 1e4))
    torch.testing.assert_close(larger, logits)
    assert larger.abs().max() <= 10 * (1 + 1e-6)


def test_logits_are_cosines_times_the_scale() -> None:
    query, key = torch.randn(2, 4, 5, 8)
    norm = QKNorm(heads=4)
    with torch.no_grad():
        norm.raw_scale.copy_(torch.randn(4, 1, 1))
    cosines = functional.cosine_similarity(query[:, :, None], key[:, None], dim=-1)
    torch.testing.assert_close(_logits(*norm(query, key)), norm.scale * cosines)


def test_it_is_used_before_the_attention_of_torch() -> None:
    query, key, value = torch.randn(3, 2, 4, 5, 8)
    norm = QKNorm(heads=4, scale=3.0)
    found = functional.scaled_dot_product_attention(*norm(query, key), value)
    cosines = functional.cosine_similarity(
        query[..., None, :], key[..., None, :, :], -1
    )
    torch.testing.assert_close(found, (3.0 * cosines).softmax(-1) @ value)


def test_scales_are_learned_but_never_beyond_the_most() -> None:
    norm = QKNorm(scale=10.0, most=20.0)
    adam = torch.optim.SGD(norm.parameters(), lr=1.0)
    same = torch.ones(1, 4)
    for _ in range(100):
        adam.zero_grad()
        (-_logits(*norm(same, same))).sum().backward()
        adam.step()
    assert 15 < norm.scale.item() <= 20
    norm.reset_parameters()
    assert norm.scale.item() == pytest.approx(10.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_do_not_overflow(dtype: torch.dtype) -> None:
    query = torch.full((3, 64), 6e4, dtype=dtype)
    found, other = qk_norm(query, -query, scale=10.0)
    assert found.dtype == dtype
    logits = _logits(found.float(), other.float())
    torch.testing.assert_close(
        logits, torch.full_like(logits, -10.0), rtol=0.01, atol=0
    )


def test_a_vector_of_zeros_attends_to_all_alike() -> None:
    query = torch.zeros(1, 4, requires_grad=True)
    logits = _logits(*qk_norm(query, torch.randn(3, 4), scale=1.0))
    logits.sum().backward()
    assert not logits.any()
    assert torch.isfinite(query.grad).all()


def test_gradients_are_those_of_differences() -> None:
    values = torch.randn(2, 2, 3, 4, dtype=torch.float64).unbind()
    scale = torch.rand(2, 1, 1, dtype=torch.float64) + 1
    inputs = [v.requires_grad_() for v in (*values, scale)]
    assert torch.autograd.gradcheck(
        lambda query, key, scale: qk_norm(query, key, scale=scale), inputs
    )
    assert torch.autograd.gradgradcheck(
        lambda query, key, scale: qk_norm(query, key, scale=scale),
        inputs,
        fast_mode=True,
    )


def test_it_keeps_conventions() -> None:
    inputs = torch.randn(2, 2, 4, 5, 8).unbind()
    keeps_conventions(lambda: QKNorm(heads=4), *inputs, exported=True)
    keeps_conventions(lambda: QKNorm(learnable=False), *inputs)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: QKNorm(heads=0), "heads=0"),
        (lambda: QKNorm(scale=200.0), "0 < scale < most"),
        (lambda: QKNorm(heads=2)(torch.ones(3, 4), torch.ones(3, 4)), "2 heads"),
        (
            lambda: qk_norm(torch.ones(3, 4), torch.ones(3, 5), scale=1.0),
            "size 4 and keys of size 5",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, says: str) -> None:
    with pytest.raises(NormError, match=says):
        make()
