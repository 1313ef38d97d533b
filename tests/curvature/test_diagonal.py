"""Diagonals and traces of blocks of known matrices, with errors that are true."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch

from curvature.spectra import Counting, symmetric
from surefoot.curvature.diagonal import Method, diagonal, layer_traces
from surefoot.curvature.errors import CurvatureError

OUTLIERS = [50.0, 20.0, 10.0, *np.linspace(-0.3, 0.9, 97)]
SMALL = torch.tensor([[3.0, 1.0], [1.0, 2.0]])


def test_the_diagonal_of_a_matrix_of_two() -> None:
    found = diagonal(SMALL, products=4000, method="hutchinson")
    assert found.values.tolist() == pytest.approx([3.0, 2.0], abs=0.06)
    assert found.products == 4000


def test_the_variance_of_one_probe_is_the_sum_of_squares_beside_the_diagonal() -> None:
    found = diagonal(SMALL, products=4000, method="hutchinson")
    one = found.errors.square() * 4000
    assert one.tolist() == pytest.approx([1.0, 1.0], abs=0.02)


def test_a_diagonal_matrix_is_known_from_any_probes() -> None:
    matrix = torch.diag(torch.arange(30.0))
    found = diagonal(matrix, products=4, method="hutchinson")
    torch.testing.assert_close(found.values, torch.arange(30.0))
    assert found.errors.max() == 0


@pytest.mark.parametrize("method", ["auto", "hutchinson", "xdiag"])
def test_errors_are_those_of_the_diagonal(method: Method) -> None:
    matrix = symmetric(OUTLIERS)
    found = [diagonal(matrix, products=40, method=method, seed=s) for s in range(40)]
    wrong = torch.stack([one.values for one in found]) - matrix.diagonal()
    stated = torch.stack([one.errors for one in found])
    ratio = wrong.square().mean().sqrt() / stated.square().mean().sqrt()
    assert 0.6 < ratio < 1.5
    assert wrong.mean().abs() < 4 * wrong.mean(dim=1).std() / 40**0.5


def test_where_few_eigenvalues_dominate_xdiag_is_chosen_and_wins() -> None:
    matrix = symmetric(OUTLIERS)
    ours = diagonal(matrix, products=40)
    plain = diagonal(matrix, products=40, method="hutchinson")
    assert ours.method == "xdiag"
    wrong = [(one.values - matrix.diagonal()).norm() for one in (ours, plain)]
    assert wrong[0] < wrong[1] / 3


def test_on_a_flat_spectrum_no_product_is_lost() -> None:
    counted = Counting(symmetric(np.linspace(0.5, 1.5, 200)))
    found = diagonal(counted, products=30)
    assert found.method == "hutchinson"
    assert counted.products == found.products == 30
    assert found.freedom == 29


def test_a_small_matrix_is_read() -> None:
    found = diagonal(symmetric(OUTLIERS), products=100)
    torch.testing.assert_close(found.values, symmetric(OUTLIERS).diagonal())
    assert (found.method, found.products) == ("exact", 100)


def test_the_diagonal_matches_curvlinops() -> None:
    curvlinops = pytest.importorskip("curvlinops")
    matrix = symmetric(OUTLIERS, dtype=torch.float32)
    theirs = curvlinops.xdiag(matrix, 40)
    ours = diagonal(matrix, products=40, method="xdiag")
    apart = (ours.values - theirs).norm() / matrix.diagonal().norm()
    assert apart < 0.3


def test_traces_of_layers_come_from_shared_products() -> None:
    matrix = symmetric(OUTLIERS)
    slices = {"first": slice(0, 60), "second": slice(60, 100)}
    counted = Counting(matrix)
    found = layer_traces(counted, slices, products=40)
    assert counted.products == found["first"].products == 40
    for name, place in slices.items():
        true = float(matrix.diagonal()[place].sum())
        low, high = found[name].interval(0.999)
        assert low <= true <= high
        assert found[name].error < 0.1 * true


def test_intervals_of_layers_hold() -> None:
    matrix = symmetric([*OUTLIERS[:3], *np.linspace(0.0, 1.0, 40)])
    slices = {"all": slice(0, 43), "some": slice(0, 15)}
    true = {name: float(matrix.diagonal()[s].sum()) for name, s in slices.items()}
    held = []
    for seed in range(60):
        found = layer_traces(matrix, slices, products=20, seed=seed)
        for name, one in found.items():
            low, high = one.interval()
            held.append(low <= true[name] <= high)
    assert np.mean(held) >= 0.9


def test_the_slices_of_an_operator_are_taken_from_its_space() -> None:
    class Space:
        slices: ClassVar = {"weight": slice(0, 2), "bias": slice(2, 3)}

    class Layered(Counting):
        space = Space()

    found = layer_traces(Layered(torch.diag(torch.tensor([1.0, 2.0, 4.0]))))
    assert [round(one.value, 4) for one in found.values()] == [3.0, 4.0]


@pytest.mark.parametrize("method", ["auto", "hutchinson", "xdiag"])
def test_products_that_are_not_finite_are_refused(method: Method) -> None:
    with pytest.raises(CurvatureError, match="NaN"):
        diagonal(torch.full((30, 30), torch.nan), products=10, method=method)


def test_bad_numbers_are_refused() -> None:
    with pytest.raises(CurvatureError, match="3 products came; expected 4"):
        diagonal(SMALL, products=3)
    with pytest.raises(CurvatureError, match="slices None and 30 products came"):
        layer_traces(SMALL)


def test_the_global_stream_is_left_alone() -> None:
    state = torch.get_rng_state()
    first, again = (diagonal(symmetric(OUTLIERS), products=10) for _ in range(2))
    assert torch.equal(first.values, again.values)
    assert torch.equal(state, torch.get_rng_state())
