"""What is drawn of a field: its grid, the losses between, one scale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from landscape.pictured import along_one_direction, field
from surefoot.landscape.functions import BANANA, BOWL, DOUBLE_WELL
from surefoot.landscape.land import Scale, land, scale_of
from surefoot.types import Field


def test_losses_between_the_points_are_bilinear() -> None:
    xs, ys = np.linspace(-1, 1, 4), np.linspace(0, 3, 6)
    plane = 2 * xs[:, None] - ys[None] + xs[:, None] * ys[None]
    seen = land(
        Field(0, "landscape", {"alpha": xs.tolist(), "beta": ys.tolist()}, plane)
    )
    points = np.random.default_rng(0).uniform((-1, 0), (1, 3), (50, 2))
    x, y = points.T
    np.testing.assert_allclose(seen.at(points), 2 * x - y + x * y, atol=1e-12)


def test_losses_outside_and_beside_missing_ones_are_not_made_up() -> None:
    values = BOWL.field(5).values.copy()
    values[2, 2] = np.inf
    seen = land(field(BOWL, points=5, values=values))
    assert np.isnan(seen.heights[2, 2])
    at = seen.at(np.array([[0.1, 0.1], [1.5, 1.5], [2.5, 0.0], [2.0, 2.0]]))
    np.testing.assert_array_equal(np.isnan(at), [True, False, True, False])


def test_axes_that_descend_are_turned_round() -> None:
    given = DOUBLE_WELL.field(5)
    turned = replace(
        given,
        axes={"alpha": given.axes["alpha"][::-1], "beta": given.axes["beta"]},
        values=given.values[::-1],
    )
    np.testing.assert_array_equal(land(turned).heights, land(given).heights)


def test_what_gives_a_field_can_be_drawn() -> None:
    class Slice:
        def field(self) -> Field:
            return BOWL.field(3)

    np.testing.assert_array_equal(land(Slice()).heights, land(BOWL.field(3)).heights)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (replace(BOWL.field(3), kind="spectrum"), 'kind "spectrum" came; expected'),
        (along_one_direction([1.0]), "a grid of 1 came"),
        (along_one_direction([np.nan, np.inf]), "no loss of this landscape is finite"),
    ],
)
def test_what_cannot_be_drawn_is_refused(given: Field, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        land(given)


def test_one_scale_holds_all_landscapes() -> None:
    one, other = land(BOWL.field(5)), land(DOUBLE_WELL.field(31))
    scale = scale_of(one, other)
    assert scale.low == other.span[0] < one.span[0]
    assert scale.high == one.span[1] > other.span[1]


def test_losses_over_decades_are_drawn_by_their_logarithm() -> None:
    wide = along_one_direction([0.01, 1.0, 100.0])
    assert scale_of(land(wide)).log
    assert not scale_of(land(wide), log=False).log
    assert not scale_of(land(along_one_direction([1.0, 2.0]))).log
    assert not scale_of(land(along_one_direction([-1.0, 100.0])), log=None).log
    touches_zero = scale_of(land(BANANA.field(5)))
    assert touches_zero.log
    assert touches_zero.low > 0


def test_a_flat_landscape_has_a_scale() -> None:
    scale = scale_of(land(along_one_direction([0.5, 0.5, 0.5])))
    assert scale.low < 0.5 < scale.high


@pytest.mark.parametrize("scale", [Scale(-1.0, 3.0, False), Scale(0.01, 50.0, True)])
def test_losses_come_back_from_their_shares(scale: Scale) -> None:
    losses = np.linspace(scale.low, scale.high, 9)
    shares = scale.share(losses)
    np.testing.assert_allclose(scale.losses(shares), losses, rtol=1e-12)
    assert shares[0] == 0
    assert shares[-1] == pytest.approx(1)
    assert (np.diff(shares) > 0).all()
