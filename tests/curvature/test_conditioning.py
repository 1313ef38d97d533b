"""Covariance and correlation: condition numbers, and the steps that they cost."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from surefoot.curvature.conditioning import conditioning, conditioning_of
from surefoot.curvature.errors import CurvatureError, NotFiniteError

CASES = {
    "four to one": ([[4.0, 1.0], [1.0, 1.0]], 6.1713, 3.0, (43, 20)),
    "nine to one": ([[9.0, 1.0], [1.0, 1.0]], 10.404, 2.0, None),
    "alike": ([[2.0, 0.0], [0.0, 2.0]], 1.0, 1.0, (1, 1)),
}


@pytest.mark.parametrize("case", CASES)
def test_covariances_of_two_features(case: str) -> None:
    matrix, raw, standardised, steps = CASES[case]
    found = conditioning_of(matrix)
    assert found.covariance == pytest.approx(raw, abs=5e-4)
    assert found.correlation == pytest.approx(standardised, abs=1e-9)
    assert steps is None or found.steps() == steps


@pytest.mark.parametrize("case", ["four to one", "nine to one"])
def test_gradient_descent_takes_the_steps_that_are_told(case: str) -> None:
    matrix = np.array(CASES[case][0])
    scale = 1 / np.sqrt(matrix.diagonal())
    told = conditioning_of(matrix).steps()
    for hessian, steps in zip(
        (matrix, scale[:, None] * matrix * scale), told, strict=True
    ):
        values, vectors = np.linalg.eigh(hessian)
        rate = 2 / (values[0] + values[-1])
        error = vectors[:, 0] + vectors[:, -1]
        first, count = np.linalg.norm(error), 0
        while np.linalg.norm(error) > 1e-6 * first:
            error = error - rate * hessian @ error
            count += 1
        assert count == steps


def test_features_are_those_of_their_covariance() -> None:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.tensor([[2.0, 0.5, 0.0], [0.0, 1.0, 0.3], [0.0, 0.0, 0.1]])
    features = torch.randn(400, 3, generator=generator) @ mixing + 5.0
    wanted = np.cov(features.double().numpy().T, bias=True)
    assert conditioning(features) == conditioning(features.numpy())
    found, other = conditioning(features), conditioning_of(wanted)
    assert found.covariance == pytest.approx(other.covariance, rel=1e-9)
    assert found.correlation == pytest.approx(other.correlation, rel=1e-9)
    assert found.helps


def test_standardising_does_not_always_help() -> None:
    draws = np.random.default_rng(0)
    hurt = 0
    for _ in range(2000):
        root = draws.standard_normal((3, 3))
        hurt += not conditioning_of(root @ root.T).helps
    assert 0.02 < hurt / 2000 < 0.09


def test_a_feature_that_is_the_sum_of_others_has_no_bound() -> None:
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    found = conditioning(torch.cat([x, x.sum(1, keepdim=True)], dim=1))
    assert math.isinf(found.correlation)
    assert found.steps() == (math.inf, math.inf)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (torch.zeros(5), "expected .samples, features"),
        (torch.ones(5, 2), "do not vary"),
        (torch.tensor([[1.0, math.nan], [2.0, 3.0]]), "NaN"),
    ],
)
def test_features_that_are_none_are_refused(given: torch.Tensor, said: str) -> None:
    with pytest.raises((CurvatureError, NotFiniteError), match=said):
        conditioning(given)


def test_a_matrix_that_is_no_covariance_is_refused() -> None:
    with pytest.raises(CurvatureError, match="symmetric"):
        conditioning_of([[1.0, 2.0], [0.0, 1.0]])
