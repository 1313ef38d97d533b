"""Functions of two parameters: derivatives, and their points of interest."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from surefoot.landscape.functions import (
    ALL,
    DOUBLE_WELL,
    GALLERY,
    HIGHER_WELL,
    LOWER_WELL,
    VALLEY,
    Function2D,
    function_named,
)

NAMED = [pytest.param(one, id=one.name) for one in ALL]


@pytest.mark.parametrize("function", NAMED)
def test_derivatives_are_those_of_the_function(function: Function2D) -> None:
    at = torch.tensor([0.3, -0.7], dtype=torch.float64)
    h = 1e-4
    slope, curvature = torch.empty(2), torch.empty(2)
    for axis in range(2):
        step = torch.zeros(2, dtype=torch.float64)
        step[axis] = h
        up, here, down = (function.value(at + sign * step) for sign in (1, 0, -1))
        slope[axis] = (up - down) / (2 * h)
        curvature[axis] = (up - 2 * here + down) / h**2
    found = function.hessian(at.tolist())
    torch.testing.assert_close(
        function.gradient(at.tolist()).float(), slope, rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(
        found.diagonal().float(), curvature, rtol=1e-3, atol=1e-3
    )
    torch.testing.assert_close(found, found.T)


@pytest.mark.parametrize("function", NAMED)
def test_heights_lie_on_the_grid_first_index_along_x(function: Function2D) -> None:
    xs, ys = function.axes(7)
    grid = function.heights(7)
    point = torch.tensor([xs[2], ys[5]])
    assert grid[2, 5] == pytest.approx(float(function.value(point)), rel=1e-12)
    field = function.field(7)
    np.testing.assert_array_equal(field.values, grid.astype(np.float32))
    assert list(field.axes["beta"]) == ys.tolist()


@pytest.mark.parametrize("function", NAMED)
def test_points_of_interest_and_starts_are_in_the_picture(function: Function2D) -> None:
    left, right, bottom, top = function.extent
    for x, y in (function.point, *function.starts):
        assert left < x < right
        assert bottom < y < top


@pytest.mark.parametrize("function", [one for one in NAMED if one.id != "Cliff"])
def test_points_of_interest_are_stationary_or_flat(function: Function2D) -> None:
    flat = 1e-4 if function.name == "Plateau" else 1e-9
    assert float(function.gradient(function.point).norm()) < flat


def test_the_double_well_has_its_two_minima_where_they_are_said_to_be() -> None:
    for x, y in (HIGHER_WELL, LOWER_WELL):
        assert float(DOUBLE_WELL.gradient((x, y)).norm()) < 1e-12
        assert float(torch.linalg.eigvalsh(DOUBLE_WELL.hessian((x, y)))[0]) > 0
    higher, lower = (
        float(DOUBLE_WELL.value(torch.tensor(at, dtype=torch.float64)))
        for at in (HIGHER_WELL, LOWER_WELL)
    )
    assert higher > lower + 0.1


def test_the_valley_has_the_condition_that_is_said() -> None:
    low, high = torch.linalg.eigvalsh(VALLEY.hessian(VALLEY.point))
    assert float(high / low) == pytest.approx(1000)


def test_functions_are_found_by_name() -> None:
    assert function_named("convex BOWL") is GALLERY[0]
    with pytest.raises(ValueError, match='no function is called "bowl"; there are'):
        function_named("bowl")


def test_a_point_has_two_coordinates() -> None:
    with pytest.raises(ValueError, match="two coordinates"):
        DOUBLE_WELL.gradient((1.0, 2.0, 3.0))
