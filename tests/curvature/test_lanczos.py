"""Eigenpairs of known matrices, bounds that hold, and stops that come in time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import LinearOperator, aslinearoperator, eigsh

from curvature.spectra import SPECTRA, Counting, symmetric, true_values
from surefoot.curvature import krylov
from surefoot.curvature.errors import CurvatureError
from surefoot.curvature.lanczos import Which, eigenpairs
from surefoot.curvature.matrix import Matrix, Probes, as_operator

BULK = np.linspace(0.0, 0.5, 200)

DTYPES = st.sampled_from([torch.float32, torch.float64])
ENDS = st.sampled_from(["largest", "smallest", "both", "magnitude"])


# --- values ---------------------------------------------------------------------


def test_two_eigenvalues_of_a_quadratic() -> None:
    spectrum = [10.0, 5.0, *np.linspace(1.0, 0.0, 48)]
    found = eigenpairs(symmetric(spectrum), 2)
    np.testing.assert_allclose(found.values, [10.0, 5.0], rtol=1e-3)
    assert found.converged
    assert not found.note


@pytest.mark.parametrize("which", ["largest", "smallest", "both", "magnitude"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_ends_of_a_spectrum_match_eigsh(which: Which, dtype: torch.dtype) -> None:
    matrix = symmetric([9.0, -7.0, 6.0, -5.0, *(BULK - 0.2)], dtype=dtype)
    found = eigenpairs(matrix, 2, which=which, tolerance=1e-4)
    kind = {"largest": "LA", "smallest": "SA", "both": "BE", "magnitude": "LM"}[which]
    wanted = eigsh(matrix.double().numpy(), 4 if which == "both" else 2, which=kind)[0]
    key = -np.abs(wanted) if which == "magnitude" else -wanted
    np.testing.assert_allclose(found.values, wanted[np.argsort(key)], rtol=1e-4)
    assert found.converged


def test_vectors_are_orthonormal_and_have_the_residuals_that_are_stated() -> None:
    matrix = symmetric([9.0, 6.0, 5.0, *BULK])
    found = eigenpairs(matrix, 3)
    vectors = found.vectors
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(3, dtype=vectors.dtype))
    residual = matrix @ vectors - vectors * torch.from_numpy(found.values)
    np.testing.assert_allclose(residual.norm(dim=0), found.residuals, atol=1e-12)


class Mirrored:
    """A large matrix with a known spectrum: a diagonal, mirrored at a plane."""

    def __init__(self, spectrum: np.ndarray, skew: float = 0.0) -> None:
        self.spectrum = torch.tensor(spectrum)
        self.shape = (len(spectrum), len(spectrum))
        self.dtype = self.spectrum.dtype
        generator = torch.Generator().manual_seed(1)
        normal = torch.randn(len(spectrum), generator=generator).double()
        self.normal, self.skew = normal / normal.norm(), skew

    def mirror(self, vector: torch.Tensor) -> torch.Tensor:
        return vector - 2 * self.normal * (self.normal @ vector)

    def __matmul__(self, vector: torch.Tensor) -> torch.Tensor:
        product = self.mirror(self.spectrum * self.mirror(vector))
        return product + self.skew * vector.roll(1)


@pytest.mark.parametrize("top", [[9.0, 6.0, 5.0], [9.0, 8.9, 8.8], [1e4, 10.0, 1.0]])
def test_long_vectors_are_orthogonal_and_bounded_alike(top: list[float]) -> None:
    bulk = np.linspace(-0.3, 0.5, krylov.SMALL + 1000)
    matrix = Mirrored(np.concatenate([top, bulk]))
    basis = krylov.Krylov(*_begun(matrix))
    for _ in range(60):
        basis.grow()
    vectors = basis.combined(np.eye(60))
    wrong = vectors.T @ vectors - torch.eye(60, dtype=torch.float64)
    assert wrong.abs().max() < 1e-13
    found = eigenpairs(matrix, 3, tolerance=1e-4)
    assert (np.abs(found.values - top) <= found.errors).all()


def test_a_long_operator_that_is_not_symmetric_is_told() -> None:
    bulk = np.linspace(-0.3, 0.5, krylov.SMALL + 1000)
    found = eigenpairs(
        Mirrored(np.concatenate([[9.0], bulk]), skew=3.0), tolerance=1e-5
    )
    assert not found.converged
    assert "not symmetric" in found.note


def _begun(matrix: Mirrored) -> tuple[Matrix, torch.Tensor, Probes]:
    whole = as_operator(matrix)
    probes = Probes(whole, 0)
    return whole, probes.gaussian(), probes


def test_one_eigenvalue_is_an_estimate_with_a_bound() -> None:
    found = eigenpairs(symmetric([9.0, 6.0, *BULK]), 2)
    second = found.estimate(1)
    assert second.kind == "bound"
    assert second.interval()[0] <= 6.0 <= second.interval()[1]
    assert second.products == found.products


# --- bounds ---------------------------------------------------------------------


@settings(max_examples=80, deadline=None, derandomize=True)
@given(SPECTRA, st.integers(1, 4), ENDS, st.integers(0, 99), DTYPES)
def test_an_eigenvalue_lies_within_each_residual(
    spectrum: list[float], k: int, which: Which, seed: int, dtype: torch.dtype
) -> None:
    matrix = symmetric(spectrum, seed=seed, dtype=dtype)
    k = min(k, len(spectrum))
    found = eigenpairs(matrix, k, which=which, seed=seed)
    true = true_values(matrix)
    nearest = np.abs(true[:, None] - found.values).min(axis=0)
    rounding = 16 * torch.finfo(dtype).eps * np.abs(true).max()
    assert (nearest <= found.residuals + rounding).all()
    assert found.products <= len(spectrum)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(-40, 40), min_size=1, max_size=25, unique=True),
    st.integers(1, 4),
    st.sampled_from(["largest", "smallest", "both"]),
    st.integers(0, 99),
    DTYPES,
)
def test_separate_eigenvalues_are_found_to_the_tolerance(
    spectrum: list[int], k: int, which: Which, seed: int, dtype: torch.dtype
) -> None:
    matrix = symmetric(spectrum, seed=seed, dtype=dtype)
    k = min(k, len(spectrum))
    found = eigenpairs(matrix, k, which=which, seed=seed)
    true = true_values(matrix)
    ends = {"largest": true[:k], "smallest": true[-k:]}
    both = true if len(true) <= 2 * k else np.r_[true[:k], true[-k:]]
    wanted, largest = ends.get(which, both), np.abs(true).max()
    allowed = 1e-3 * np.maximum(np.abs(wanted), 0.01 * largest)
    assert (np.abs(wanted - found.values) <= 1.01 * allowed).all()
    assert found.converged


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(st.sampled_from([-2.0, 0.0, 1.0, 5.0]), min_size=1, max_size=20),
    st.integers(1, 5),
    st.integers(0, 99),
)
def test_repeated_eigenvalues_are_found_as_often_as_they_are_there(
    spectrum: list[float], k: int, seed: int
) -> None:
    k = min(k, len(spectrum))
    found = eigenpairs(symmetric(spectrum, seed=seed), k, seed=seed)
    np.testing.assert_allclose(
        found.values, np.sort(spectrum)[::-1][:k], atol=1e-12 + found.errors.max()
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_operator_of_zeros_has_eigenvalues_of_zero(dtype: torch.dtype) -> None:
    found = eigenpairs(torch.zeros(50, 50, dtype=dtype), 3)
    assert (found.values == 0).all()
    assert found.converged
    assert found.products < 10


def test_a_matrix_of_one_number() -> None:
    found = eigenpairs(torch.tensor([[-3.0]]), which="smallest")
    assert found.values.tolist() == [-3.0]
    assert found.vectors.abs().tolist() == [[1.0]]


# --- cost -----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_it_stops_by_itself_with_half_the_products_of_eigsh(seed: int) -> None:
    matrix = symmetric([8.0, 5.0, 3.0, 2.0, *BULK], seed=seed)
    counted = Counting(matrix)
    found = eigenpairs(counted, seed=seed)
    peer = Counting(matrix)

    def product(vector: np.ndarray) -> np.ndarray:
        return (peer @ torch.from_numpy(vector)).numpy()

    seen = LinearOperator(peer.shape, product, dtype=np.float64)
    eigsh(seen, 1, which="LA", tol=1e-3, rng=seed)
    assert found.products == counted.products
    assert found.products <= peer.products / 2
    assert abs(found.values[0] / 8.0 - 1) < 1e-3


def test_old_vectors_save_products() -> None:
    matrix = symmetric([8.0, 5.0, 3.0, *BULK])
    cold = eigenpairs(matrix, tolerance=1e-2)
    moved = matrix + 0.02 * symmetric(np.linspace(-1, 1, len(matrix)), seed=1)
    warm = eigenpairs(moved, tolerance=1e-2, start=cold.vectors)
    assert warm.converged
    assert warm.products < eigenpairs(moved, tolerance=1e-2).products
    assert abs(warm.values[0] - true_values(moved)[0]) <= 1e-2 * warm.values[0]


def test_a_start_that_knows_only_another_eigenvector_still_finds_the_largest() -> None:
    matrix = symmetric([8.0, 5.0, 3.0, *BULK])
    second = eigenpairs(matrix, 2, tolerance=1e-6).vectors[:, 1]
    assert eigenpairs(matrix, start=second).values[0] == pytest.approx(8.0, rel=1e-3)


def test_a_start_of_zeros_is_none() -> None:
    matrix = symmetric([8.0, *BULK])
    found = eigenpairs(matrix, start=torch.zeros(len(matrix), 2))
    assert found.values[0] == pytest.approx(8.0, rel=1e-3)


def test_the_seed_decides_and_the_global_stream_is_left_alone() -> None:
    matrix = symmetric([8.0, 5.0, *BULK])
    state = torch.get_rng_state()
    first, again = (eigenpairs(matrix, seed=3) for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first.vectors, again.vectors)
    assert not torch.equal(first.vectors, eigenpairs(matrix, seed=4).vectors)


# --- what cannot be had ---------------------------------------------------------


def test_too_few_products_give_the_best_estimate_flagged() -> None:
    matrix = symmetric(np.linspace(-1, 1, 200))
    found = eigenpairs(matrix, 2, most_products=8, tolerance=1e-6)
    assert not found.converged
    assert found.products == 8
    assert "allow more products" in found.note
    nearest = np.abs(true_values(matrix)[:, None] - found.values).min(axis=0)
    assert (nearest <= found.errors).all()


def test_a_tolerance_below_rounding_is_flagged() -> None:
    matrix = symmetric([8.0, 5.0, *BULK], dtype=torch.float32)
    found = eigenpairs(matrix, tolerance=1e-12)
    assert not found.converged
    assert "use float64" in found.note
    assert found.products < 20


def test_an_operator_that_is_not_symmetric_is_flagged() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(100, 100, generator=generator, dtype=torch.float64)
    matrix = symmetric([8.0, 5.0, *BULK[:98]]) + 0.1 * noise
    found = eigenpairs(matrix)
    assert not found.converged
    assert "not symmetric" in found.note


@pytest.mark.parametrize(
    ("operator", "arguments", "said"),
    [
        (torch.zeros(3, 2), {}, r"shape is \(3, 2\); expected \[n, n\]"),
        (torch.zeros(0, 0), {}, "n >= 1"),
        (torch.zeros(3, 3, dtype=torch.int64), {}, "expected a floating one"),
        (torch.eye(3), {"k": 4}, "4 eigenvalues were asked of a matrix of size 3"),
        (torch.eye(3), {"k": 0}, "expected 1 to 3"),
        (torch.eye(9), {"k": 3, "most_products": 2}, "allow more products"),
        (torch.eye(3), {"tolerance": 0.0}, "tolerance is 0.0"),
        (torch.eye(3), {"start": torch.ones(4)}, r"start has shape \(4,\)"),
        (torch.eye(3), {"start": torch.tensor([1, np.nan, 0])}, "start holds NaN"),
        (torch.full((3, 3), torch.nan), {}, "product 1 .* holds NaN"),
        (torch.full((3, 3), torch.inf), {}, "NaN or infinity"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(
    operator: torch.Tensor, arguments: dict[str, object], said: str
) -> None:
    with pytest.raises(CurvatureError, match=said):
        eigenpairs(operator, **arguments)  # pyright: ignore[reportArgumentType]


# --- any operator ---------------------------------------------------------------


def test_arrays_and_scipy_operators_multiply_too() -> None:
    matrix = symmetric([8.0, 5.0, *BULK])
    for operator in (matrix.numpy(), aslinearoperator(matrix.numpy())):
        found = eigenpairs(operator, 2)
        np.testing.assert_allclose(found.values, [8.0, 5.0], rtol=1e-3)


def test_half_precision_operators_are_worked_on_in_float32() -> None:
    matrix = torch.diag(torch.tensor([8.0, 5.0, 1.0, 0.5], dtype=torch.bfloat16))
    found = eigenpairs(matrix, tolerance=3e-2)
    assert found.vectors.dtype == torch.float32
    assert found.values[0] == pytest.approx(8.0, rel=2e-2)
