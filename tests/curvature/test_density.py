"""Spectral densities of known matrices, and the fields they are recorded as."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance

from curvature.spectra import Counting, symmetric, true_values
from surefoot.curvature.density import Density, spectral_density, spectrum_field
from surefoot.curvature.errors import CurvatureError

OUTLIERS = [40.0, 25.0, 12.0, *np.linspace(-1.0, 3.0, 800) ** 3 / 20]


def distance(found: Density, true: np.ndarray) -> float:
    """Between the atoms and the eigenvalues, as a share of the range."""
    weights = found.weights.ravel() / found.weights.sum()
    return wasserstein_distance(found.nodes.ravel(), true, weights) / np.ptp(true)


def area(values: np.ndarray, grid: np.ndarray) -> float:
    return float(np.trapezoid(values, grid))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_spectrum_with_outliers_is_met_to_two_thousandths(dtype: torch.dtype) -> None:
    matrix = symmetric(OUTLIERS, dtype=dtype)
    found = spectral_density(matrix)
    assert distance(found, true_values(matrix)) < 2e-3
    assert found.products == 120


def test_as_many_steps_as_rows_give_every_eigenvalue() -> None:
    spectrum = np.array([-3.0, -1.0, 0.0, 2.0, 7.0])
    found = spectral_density(symmetric(spectrum), steps=9)
    for nodes in found.nodes:
        np.testing.assert_allclose(nodes, spectrum, atol=1e-10)


def test_weights_of_many_probes_count_the_eigenvalues() -> None:
    spectrum = [*[5.0] * 10, *[1.0] * 30]
    found = spectral_density(symmetric(spectrum), probes=200, steps=5)
    share = found.mean_of(found.nodes > 3)
    assert share.value == pytest.approx(0.25, abs=4 * share.error)
    assert share.error < 0.01
    assert found.products == 400


def test_the_density_has_area_one_and_says_how_wide_it_was_smoothed() -> None:
    found = spectral_density(symmetric(OUTLIERS))
    assert area(found.density, found.grid) == pytest.approx(1.0, abs=1e-3)
    assert found.width == pytest.approx(0.01 * np.ptp(found.nodes))
    assert (found.density >= 0).all()


def test_the_smoothed_density_is_that_of_the_true_spectrum_within_its_errors() -> None:
    true = np.array(OUTLIERS)
    found = spectral_density(symmetric(true), probes=8)
    away = (found.grid[:, None] - true) / found.width
    bells = np.exp(-(away**2) / 2) / found.width / np.sqrt(2 * np.pi)
    wrong = np.abs(found.density - bells.mean(axis=1))
    assert (wrong <= 5 * found.errors + 0.02 * bells.mean(axis=1).max()).all()
    assert area(wrong, found.grid) < 0.1


def test_moments_of_the_spectrum_have_errors() -> None:
    matrix = symmetric(OUTLIERS)
    found = spectral_density(matrix, probes=10)
    total = found.mean_of(found.nodes * found.size)
    assert total.interval(0.999)[0] <= matrix.trace() <= total.interval(0.999)[1]
    assert total.kind == "standard error"


def test_one_probe_tells_no_error() -> None:
    found = spectral_density(symmetric(OUTLIERS), probes=1)
    assert (found.errors == 0).all()
    assert found.mean_of(found.nodes).error == float("inf")


@pytest.mark.parametrize("value", [0.0, -4.0])
def test_a_spectrum_of_one_value_is_a_peak_there(value: float) -> None:
    found = spectral_density(value * torch.eye(20))
    assert found.products == 3
    assert found.grid[found.density.argmax()] == pytest.approx(value, abs=found.width)
    assert area(found.density, found.grid) == pytest.approx(1.0, abs=1e-3)


def test_products_are_counted_and_the_global_stream_is_left_alone() -> None:
    counted = Counting(symmetric(OUTLIERS))
    state, held = torch.get_rng_state(), np.random.get_state()[1]
    first = spectral_density(counted, probes=2, steps=10, seed=3)
    again = spectral_density(counted, probes=2, steps=10, seed=3)
    assert counted.products == 40
    assert first.products == 20
    assert np.array_equal(first.nodes, again.nodes)
    assert torch.equal(state, torch.get_rng_state())
    assert np.array_equal(held, np.random.get_state()[1])


def test_a_field_holds_the_spectra_of_layers_on_one_grid() -> None:
    found = {
        "first": spectral_density(symmetric([9.0, *np.zeros(30)])),
        "second": spectral_density(symmetric(OUTLIERS[2:])),
    }
    field = spectrum_field(7, found, {"operator": "hessian"})
    assert field.kind == "spectrum"
    assert field.axes["layer"] == ["first", "second"]
    assert field.values.shape == (2, len(field.axes["eigenvalue"]))
    assert field.values.dtype == np.float32
    assert field.about["operator"] == "hessian"
    assert field.about["top"]["first"] == [pytest.approx(9.0)]
    grid = np.array(field.axes["eigenvalue"], dtype=float)
    for row in field.values:
        assert area(row, grid) == pytest.approx(1.0, abs=1e-2)


def test_one_density_is_a_field_of_the_model() -> None:
    field = spectral_density(symmetric(OUTLIERS)).field(3, operator="ggn")
    assert (field.step, field.axes["layer"]) == (3, ["model"])
    assert field.about["top"]["model"][0] == pytest.approx(40.0, rel=1e-3)


@pytest.mark.parametrize("wrong", [{"probes": 0}, {"steps": 0}, {"bins": 1}])
def test_bad_numbers_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(CurvatureError, match="expected at least"):
        spectral_density(torch.eye(3), **wrong)


def test_no_layers_are_refused() -> None:
    with pytest.raises(CurvatureError, match="no densities came"):
        spectrum_field(0, {})
