"""Traces of known matrices: right, with errors that are true, at their price."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from curvature.spectra import Counting, symmetric
from surefoot.curvature.errors import CurvatureError
from surefoot.curvature.estimate import Estimate
from surefoot.curvature.trace import Method, trace
from surefoot.signatures.statistics import t_limit

SIZE = 60
METHODS = ("auto", "hutchinson", "xtrace", "hutch++", "lanczos")
SPECTRA = {
    "flat": np.linspace(0.5, 1.5, SIZE),
    "decaying": 0.7 ** np.arange(SIZE),
    "outliers": np.array([50.0, 20.0, 10.0, *np.linspace(-0.3, 0.9, SIZE - 3)]),
}

limit = cache(t_limit)


@cache
def matrix_of(name: str) -> Tensor:
    return symmetric(SPECTRA[name])


def holds(found: Estimate, true: float) -> bool:
    """Whether the 95 % interval does."""
    return abs(found.value - true) <= limit(found.freedom) * found.error


def errors(name: str, method: Method, products: int, draws: int) -> np.ndarray:
    true = float(SPECTRA[name].sum())
    found = [
        trace(
            matrix_of(name),
            method=method,
            most_products=products,
            tolerance=1e-9,
            seed=seed,
        ).value
        for seed in range(draws)
    ]
    return np.array(found) - true


# --- the stated error is true ---------------------------------------------------


@pytest.mark.parametrize("name", list(SPECTRA))
def test_intervals_of_95_percent_hold_in_93_at_least(name: str) -> None:
    matrix, true = matrix_of(name), float(SPECTRA[name].sum())
    found = [
        trace(matrix, tolerance=1e-9, most_products=16, seed=seed)
        for seed in range(500)
    ]
    assert all(one.products == 16 for one in found)
    assert np.mean([holds(one, true) for one in found]) >= 0.93
    # Nor are they too wide to be of use.
    stated = np.sqrt(np.mean([one.error**2 for one in found]))
    assert stated < 1.5 * np.sqrt(np.mean([(one.value - true) ** 2 for one in found]))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", list(SPECTRA))
def test_each_method_is_unbiased_and_states_its_error(
    name: str, method: Method
) -> None:
    matrix, true = matrix_of(name), float(SPECTRA[name].sum())
    found = [
        trace(matrix, method=method, tolerance=1e-9, most_products=24, seed=seed)
        for seed in range(40)
    ]
    wrong = np.array([one.value for one in found]) - true
    assert abs(wrong.mean()) < 4 * wrong.std() / 40**0.5
    assert np.mean([holds(one, true) for one in found]) >= 0.85
    assert all(one.products <= 24 for one in found)


# --- and comes at its price -----------------------------------------------------


@pytest.mark.parametrize("name", ["decaying", "outliers"])
def test_where_few_dominate_a_quarter_of_hutchinsons_products_does(name: str) -> None:
    """Products at equal error are as the squared errors at equal products."""
    ours = errors(name, "auto", 30, 20)
    hutchinson = errors(name, "hutchinson", 30, 20)
    assert (hutchinson**2).mean() > 4 * (ours**2).mean()


def test_on_a_flat_spectrum_it_is_hutchinsons() -> None:
    matrix = symmetric(np.linspace(0.5, 1.5, 400))
    ours = trace(matrix, tolerance=1e-9, most_products=40)
    plain = trace(matrix, tolerance=1e-9, most_products=40, method="hutchinson")
    assert (ours.value, ours.error) == (plain.value, plain.error)


def test_it_stops_at_the_tolerance() -> None:
    counted = Counting(matrix_of("outliers"))
    found = trace(counted, tolerance=0.05)
    assert found.products == counted.products < 40
    assert found.converged
    assert found.error <= 0.05 * found.value
    assert abs(found.value - SPECTRA["outliers"].sum()) < 0.2 * found.value


# --- ends -----------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "spectrum", [[0.0] * 20, [7.0, *[0.0] * 30], [2.0] * 30, [1.0, -1.0] * 8]
)
def test_spectra_of_few_values(spectrum: list[float], method: Method) -> None:
    found = trace(symmetric(spectrum), method=method, most_products=60)
    assert abs(found.value - sum(spectrum)) <= 5 * found.error + 1e-9


@pytest.mark.parametrize("size", [1, 2, 7])
def test_a_small_matrix_is_summed(size: int) -> None:
    matrix = symmetric(np.arange(size) + 1.0)
    found = trace(matrix)
    assert found.value == pytest.approx(size * (size + 1) / 2)
    assert (found.error, found.products) == (0.0, size)


@pytest.mark.parametrize("method", METHODS)
def test_more_products_than_rows_are_exact_or_say_how_wrong(method: Method) -> None:
    spectrum = np.linspace(-1.0, 2.0, 12)
    found = trace(symmetric(spectrum), method=method, most_products=50, tolerance=1e-9)
    assert abs(found.value - spectrum.sum()) <= 5 * found.error + 1e-9


def test_float32_is_enough() -> None:
    matrix = symmetric(SPECTRA["outliers"], dtype=torch.float32)
    found = trace(matrix, most_products=60, tolerance=1e-9)
    assert abs(found.value - SPECTRA["outliers"].sum()) <= 5 * found.error


def test_a_tolerance_that_is_not_met_is_flagged() -> None:
    found = trace(matrix_of("flat"), tolerance=1e-6, most_products=20)
    assert not found.converged
    assert "allow more products" in found.note


def test_the_gradient_of_an_operator_begins_the_basis() -> None:
    class Known(Counting):
        gradient = symmetric(SPECTRA["outliers"])[:, 0]

    found = trace(Known(matrix_of("outliers")), tolerance=0.02)
    assert abs(found.value - SPECTRA["outliers"].sum()) <= 5 * found.error


@pytest.mark.parametrize("method", METHODS)
def test_products_that_are_not_finite_are_refused(method: Method) -> None:
    matrix = torch.full((30, 30), torch.nan)
    with pytest.raises(CurvatureError, match="NaN"):
        trace(matrix, method=method)


@pytest.mark.parametrize("wrong", [{"most_products": 3}, {"tolerance": 0.0}])
def test_bad_numbers_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(CurvatureError, match="expected 5 or more"):
        trace(torch.eye(30), **wrong)  # pyright: ignore[reportArgumentType]


def test_the_global_stream_is_left_alone() -> None:
    state = torch.get_rng_state()
    first, again = (trace(matrix_of("flat"), seed=3) for _ in range(2))
    assert first == again
    assert torch.equal(state, torch.get_rng_state())
