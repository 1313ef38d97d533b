"""A standardiser of streams: any chunks give the whole, and scikit-learn agrees."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from conventions import keeps_conventions
from surefoot.nn.norm import Moments, NormError, Standardize, merged, moments_of


def data(rows: int = 60, *, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor([1.0, 1e-3, 1e4], dtype=torch.float64)
    x = torch.randn(rows, 3, dtype=torch.float64, generator=generator)
    return x * scale + torch.tensor([0.5, 0.05, -3e5], dtype=torch.float64)


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(0, 60), max_size=5), seed=st.integers(0, 99))
def test_chunks_of_any_size_give_the_whole_to_1e_12(cuts: list[int], seed: int) -> None:
    x, norm = data(seed=seed), Standardize(3)
    at = [0, *sorted(cuts), 60]
    for start, end in itertools.pairwise(at):
        norm.add(x[start:end])
    found = norm.moments
    assert torch.allclose(found.mean, x.mean(0), rtol=1e-12, atol=0)
    assert torch.allclose(found.variance(), x.var(0, correction=0), rtol=1e-12, atol=0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 60), st.integers(0, 60))
def test_merging_knows_no_order(one: int, other: int) -> None:
    x = data()
    low, high = sorted((one, other))
    a, b, c = moments_of(x[:low]), moments_of(x[low:high]), moments_of(x[high:])
    left, right = merged(merged(a, b), c), merged(merged(c, b), a)
    for first, second in zip(left, right, strict=True):
        assert torch.allclose(first, second, rtol=1e-12, atol=0)


def test_scikit_learn_agrees_after_partial_fits() -> None:
    x = torch.cat([data(), torch.full((60, 1), 7.3, dtype=torch.float64)], 1)
    norm, oracle = Standardize(4), StandardScaler()
    for part in x.split(17):
        norm.add(part)
        oracle.partial_fit(part.numpy())
    assert np.allclose(norm.mean.numpy(), oracle.mean_, rtol=1e-12)
    assert np.allclose(norm.scale.numpy(), oracle.scale_, rtol=1e-12)
    assert np.allclose(norm.eval()(x).numpy(), oracle.transform(x.numpy()), atol=1e-9)


@pytest.mark.parametrize("constant", [0.0, 1.0, 0.1, -1e8, 1e-300])
def test_a_constant_feature_has_scale_1(constant: float) -> None:
    norm = Standardize(1)
    for rows in (3, 7, 1):
        out = norm(torch.full((rows, 1), constant, dtype=torch.float64))
    assert norm.scale.item() == 1.0
    assert abs(out).max() <= 1e-6


def test_before_any_value_nothing_is_changed() -> None:
    x = data()
    assert torch.equal(Standardize(3).eval()(x), x)


def test_in_training_a_pass_counts_itself_and_in_evaluation_not() -> None:
    x, norm = data(), Standardize(3)
    out = norm(x)
    assert torch.allclose(out.mean(0), torch.zeros(3, dtype=x.dtype), atol=1e-9)
    assert torch.allclose(out.std(0, correction=0), torch.ones(3, dtype=x.dtype))
    before = copy.deepcopy(norm.moments)
    assert torch.equal(norm.eval()(x), out)
    assert all(torch.equal(*pair) for pair in zip(before, norm.moments, strict=True))
    torch.testing.assert_close(norm.inverse(out), x)


def test_its_memory_survives_a_file(tmp_path: Path) -> None:
    norm = Standardize(3)
    norm.add(data())
    torch.save(norm.state_dict(), tmp_path / "a.pt")
    other = Standardize(3)
    other.load_state_dict(torch.load(tmp_path / "a.pt", weights_only=True))
    for one in (norm, other):
        one.add(data(seed=1))
    assert torch.equal(norm.mean, other.mean)
    assert torch.equal(norm.squares, other.squares)


def test_workers_are_merged() -> None:
    norm, other, whole = Standardize(3), Standardize(3), Standardize(3)
    x = data()
    norm.add(x[:20])
    other.add(x[20:])
    whole.add(x)
    norm.merge(other)
    assert torch.allclose(norm.squares, whole.squares, rtol=1e-12)
    with pytest.raises(NormError, match="of 2 features came; expected those of 3"):
        norm.merge(Standardize(2))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.booleans(), min_size=6, max_size=6))
def test_what_is_masked_is_not_counted(there: list[bool]) -> None:
    x, mask = data(6), torch.tensor(there)
    padded = torch.where(mask[:, None], x, torch.nan)
    found = moments_of(padded.view(2, 3, 3), mask.view(2, 3))
    expected = moments_of(x[mask])
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-12)


def test_converting_the_model_keeps_its_digits() -> None:
    norm = Standardize(3)
    norm.add(data())
    before = Moments(*(one.clone() for one in norm.moments))
    torch.nn.Sequential(norm).bfloat16()
    assert all(torch.equal(*pair) for pair in zip(before, norm.moments, strict=True))
    assert norm(data().bfloat16()).dtype == torch.bfloat16


def test_gradients_pass_as_through_a_fixed_map() -> None:
    norm = Standardize(3)
    norm.add(data())
    x = data(4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(norm.eval(), x)
    (gradient,) = torch.autograd.grad(norm(x).sum(), x)
    assert torch.allclose(gradient, (1 / norm.scale).expand(4, 3))


def test_conventions() -> None:
    keeps_conventions(lambda: Standardize(3), data(5).float(), exported=True)


@pytest.mark.parametrize(
    ("values", "mask"),
    [
        (torch.ones(4, 2), None),
        (torch.ones(3), None),
        (torch.ones(4, 3), torch.ones(4)),
        (torch.ones(4, 3), torch.ones(3, dtype=torch.bool)),
    ],
)
def test_what_does_not_fit_is_refused_and_not_counted(
    values: torch.Tensor, mask: torch.Tensor | None
) -> None:
    norm = Standardize(3)
    with pytest.raises(NormError, match="expected"):
        norm(values, mask)
    assert norm.total == 0
