"""Roughness, convexity, barriers, and maps of the whole Hessian's convexity."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from surefoot.landscape.directions import slice_of
from surefoot.landscape.numbers import barrier, convexity_map, numbers
from surefoot.landscape.surface import Options, Surface, surface

GRID = np.linspace(-1, 1, 21)
A, B = np.meshgrid(GRID, GRID, indexing="ij")


def drawn(losses: np.ndarray) -> Surface:
    flat = losses.ndim == 1
    return Surface(
        GRID, np.zeros(0) if flat else GRID, losses, np.ones(losses.shape, bool),
        ("x",) if flat else ("x", "y"), 0.0, "eval", {}, np.zeros((0, losses.ndim)),
    )  # fmt: skip


def test_a_bowl_is_smooth_and_convex() -> None:
    found = numbers(drawn(8 * A**2 + 2 * B**2))
    assert found.roughness == pytest.approx(0, abs=1e-12)
    assert found.negative_curvature == 0
    assert found.condition == pytest.approx(4)
    assert found.rise == pytest.approx(10)
    assert found.finite == 1


def test_a_turned_valley_has_the_condition_of_its_hessian() -> None:
    # H = [[5, 4], [4, 5]]: eigenvalues 9 and 1
    found = numbers(drawn(2.5 * A**2 + 4 * A * B + 2.5 * B**2))
    assert found.condition == pytest.approx(9)


def test_bumps_are_counted_by_their_height() -> None:
    # between -1 and 1, cos(2 pi x) has two bumps of height 2 beyond one valley
    line = numbers(drawn(np.cos(2 * np.pi * GRID)))
    assert line.roughness == pytest.approx(2.0)
    smaller = numbers(drawn(5 * GRID**2 + 0.1 * np.cos(8 * np.pi * GRID)))
    assert 0 < smaller.roughness < 0.5


def test_saddles_bend_down_everywhere_and_domes_in_part() -> None:
    assert numbers(drawn(A**2 - B**2)).negative_curvature == 1
    waves = numbers(drawn(np.cos(np.pi * A) + 0 * B)).negative_curvature
    assert waves == pytest.approx(0.5, abs=0.08)


def test_what_is_not_finite_is_left_out() -> None:
    losses = np.where(A > 0.5, np.inf, A**2 + B**2)
    found = numbers(drawn(losses))
    assert found.finite == pytest.approx((A <= 0.5).mean())
    assert found.roughness == pytest.approx(0, abs=1e-12)
    assert np.isnan(numbers(drawn(np.full((21, 21), np.nan))).rise)
    assert numbers(drawn(np.ones((21, 21)))).roughness == 0


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([1, 2, 3], 0.0),
        ([1, 0, 3], 0.0),
        ([1, 5, 3], 3.0),
        ([0.0, np.inf, 0.0], np.inf),
    ],
)
def test_a_barrier_is_what_rises_above_the_line(losses, expected: float) -> None:
    assert barrier(np.array(losses, float)) == expected


def quartic(model: nn.Linear, _: Tensor) -> Tensor:
    """x² - y² + y⁴: λ_min/λ_max is known everywhere."""
    x, y = model.weight[0]
    return x**2 - y**2 + y**4


def test_a_map_holds_the_ratio_of_the_eigenvalues() -> None:
    model = nn.Linear(2, 1, bias=False).double()
    with torch.no_grad():
        model.weight.zero_()
    before = model.weight.detach().clone()
    way = torch.eye(2, dtype=torch.float64)
    plane = slice_of(model, [(way[:1],), (way[1:],)])
    told: list[tuple[int, int]] = []
    found = convexity_map(
        model, torch.ones(1), loss_fn=quartic, directions=plane, points=5,
        options=Options(progress=lambda *one: told.append(one), title="saddle"),
    )  # fmt: skip
    for j, y in enumerate(np.linspace(-1, 1, 5)):
        values = sorted([2.0, 12 * y**2 - 2])
        expected = abs(values[0]) / values[1]
        assert found.losses[2, j] == pytest.approx(expected, rel=0.02)
    assert torch.equal(model.weight, before)
    assert told[-1] == (25, 25)
    field = found.field()
    assert (field.kind, field.about["title"]) == ("convexity", "saddle")


def test_a_map_has_holes_where_the_loss_is_not_finite() -> None:
    model = nn.Linear(2, 1, bias=False).double()
    with torch.no_grad():
        model.weight.fill_(1.5)
    way = torch.eye(2, dtype=torch.float64)
    plane = slice_of(model, [(way[:1],), (way[1:],)], reach=(-2.0, 2.0))
    found = convexity_map(
        model, torch.ones(1), points=3, directions=plane,
        loss_fn=lambda m, _: m.weight[0, 0].log() + m.weight.square().sum(),
    )  # fmt: skip
    assert np.isnan(found.losses[0]).all()
    assert np.isfinite(found.losses[2]).all()


@pytest.mark.parametrize("directions", ["random", "gradient", "eigenvectors"])
def test_a_map_takes_the_directions_that_a_surface_takes(directions: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    batch = torch.randn(16, 3, dtype=torch.float64)

    def loss_fn(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return (m(x) - x[:, :1]).square().mean()

    drawn = surface(model, batch, loss_fn=loss_fn, directions=directions, points=3)
    found = convexity_map(
        model, batch, loss_fn=loss_fn, directions=directions, points=3
    )
    assert found.directions == drawn.directions
    assert np.array_equal(found.alphas, drawn.alphas)


def test_a_map_over_a_line_is_refused() -> None:
    model = nn.Linear(2, 1, bias=False).double()
    way = torch.eye(2, dtype=torch.float64)
    line_of = slice_of(model, [(way[:1],)])
    with pytest.raises(ValueError, match="needs two directions"):
        convexity_map(model, torch.ones(1), loss_fn=quartic, directions=line_of)
