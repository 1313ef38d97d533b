"""The largest eigenvalue of a matrix that changes, from few products each time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from surefoot.curvature.errors import NotFiniteError
from surefoot.curvature.tracking import LEAST, MOST, TARGET, Tracker

SIZE = 400


class Drifting:
    """A symmetric matrix with a spectrum like a network's, turned a little each time.

    `tops[t]` are the outlying eigenvalues at time t; the bulk lies around zero.
    """

    def __init__(self, *, turn: float, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.turn = turn
        self.basis, _ = np.linalg.qr(self.random.standard_normal((SIZE, SIZE)))
        self.bulk = self.random.uniform(-0.3, 0.5, SIZE)

    def at(self, tops: list[float]) -> torch.Tensor:
        noise = self.random.standard_normal((SIZE, SIZE)) * self.turn / SIZE**0.5
        self.basis, _ = np.linalg.qr(self.basis + noise @ self.basis)
        values = np.array([*tops, *self.bulk[len(tops) :]])
        return torch.from_numpy(self.basis * values @ self.basis.T)


def tops(step: int) -> list[float]:
    """Three outliers that grow and shrink, the first overtaken by the second."""
    wave = np.sin(step / 5)
    return [6 + 2 * wave, 6 - 2 * wave, 4.0, 2.0]


@pytest.mark.parametrize("turn", [0.05, 0.1])
def test_crossing_eigenvalues_are_followed_to_a_hundredth(turn: float) -> None:
    drifting, tracker = Drifting(turn=turn), Tracker()
    taken: list[int] = []
    for step in range(40):
        matrix = drifting.at(tops(step))
        found = tracker.see(matrix)
        truth = float(torch.linalg.eigvalsh(matrix)[-1])
        assert found.converged
        assert abs(found.value - truth) <= 0.01 * truth
        taken.append(found.products)
    assert min(taken) == LEAST
    assert np.median(taken) <= TARGET
    assert tracker.points == 40
    assert tracker.products == sum(taken)
    assert tracker.late == sum(one > TARGET for one in taken[1:])


def test_a_warm_start_is_cheaper_than_a_cold_one() -> None:
    drifting, tracker = Drifting(turn=0.05), Tracker()
    warm = cold = 0
    for step in range(20):
        matrix = drifting.at([5.0 + step / 20, 4.0, 3.5, 3.0, 2.0])
        warm += tracker.see(matrix).products
        cold += Tracker(seed=step).see(matrix).products
    assert warm <= 0.7 * cold


@pytest.mark.parametrize("seed", range(8))
def test_the_bound_holds_on_matrices_with_a_bulk_and_outliers(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    matrix = torch.randn(200, 200, generator=random, dtype=torch.float64)
    matrix = (matrix + matrix.T) / 40
    tops = torch.randn(200, 4, generator=random, dtype=torch.float64) / 200**0.5
    matrix += tops @ torch.diag(torch.tensor([8.0, 6.0, 4.5, 3.0]).double()) @ tops.T
    truth = float(torch.linalg.eigvalsh(matrix)[-1])
    for tolerance in (0.1, 1e-3, 1e-6):
        found = Tracker(tolerance=tolerance, seed=seed).see(matrix)
        assert abs(found.value - truth) <= found.error
        assert found.error <= tolerance * abs(found.value)


def test_a_tolerance_that_cannot_be_met_is_not_claimed() -> None:
    values = 1 - torch.linspace(0, 1, 3000, dtype=torch.float64) ** 2 * 1e-3
    found = Tracker(tolerance=1e-9).see(torch.diag(values))
    assert not found.converged
    assert found.products == MOST
    assert found.error > 1e-9
    assert "not met" in found.note


@pytest.mark.parametrize("size", [1, 2, 3])
def test_tiny_matrices_are_exact(size: int) -> None:
    values = torch.tensor([-2.0, 3.0, 5.0], dtype=torch.float64)[:size]
    tracker = Tracker()
    for _ in range(2):
        found = tracker.see(torch.diag(values))
        assert found.value == pytest.approx(float(values.max()))
        assert found.products <= size


def test_only_negative_curvature_is_told_as_such() -> None:
    found = Tracker().see(-torch.diag(torch.linspace(1, 9, 30, dtype=torch.float64)))
    assert found.value == pytest.approx(-1, rel=0.02)


def test_another_size_begins_anew() -> None:
    tracker = Tracker()
    assert tracker.see(torch.eye(20)).method == "Rayleigh-Ritz"
    assert tracker.see(torch.eye(20)).method == "warm Rayleigh-Ritz"
    assert tracker.see(torch.eye(30)).method == "Rayleigh-Ritz"


def test_a_matrix_with_nan_is_refused_and_the_vector_kept() -> None:
    tracker = Tracker()
    matrix = torch.diag(torch.arange(1.0, 21.0))
    tracker.see(matrix)
    kept = tracker.vectors
    with pytest.raises(NotFiniteError, match="NaN"):
        tracker.see(matrix * float("nan"))
    assert tracker.vectors is kept
    assert tracker.points == 1


def test_torchs_random_numbers_are_not_drawn() -> None:
    before = torch.get_rng_state()
    Tracker().see(torch.diag(torch.arange(50.0)))
    assert torch.equal(torch.get_rng_state(), before)
