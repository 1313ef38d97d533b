"""The statistics against plain computations, and on series that have none."""

from __future__ import annotations

import numpy as np
import pytest

from surefoot.signatures import statistics as s

RNG = np.random.default_rng(0)
NOTHING = np.array([np.nan, np.inf])


def test_level_and_scale_ignore_what_is_not_finite_and_few_outliers() -> None:
    values = np.concatenate([RNG.normal(3, 2, 999), [1e9, np.nan, np.inf]])
    assert s.level(values) == pytest.approx(3, abs=0.2)
    assert s.scale(values) == pytest.approx(2, abs=0.2)
    assert (s.level(NOTHING, 7.0), s.scale(NOTHING), s.noise(NOTHING)) == (
        7.0,
        0.0,
        0.0,
    )


def test_noise_is_blind_to_a_trend() -> None:
    values = np.linspace(0, 100, 2000) + RNG.normal(0, 0.5, 2000)
    assert s.noise(values) == pytest.approx(0.5, rel=0.1)
    assert s.scale(values) > 10


def test_medians_over_time_are_those_of_numpy() -> None:
    values = RNG.normal(size=(41, 30))
    values[RNG.random(values.shape) < 0.3] = np.nan
    assert np.array_equal(s.median_over_time(values), np.nanmedian(values, axis=0))
    assert np.isnan(s.median_over_time(np.full((3, 2), np.nan))).all()
    assert np.isnan(s.median_over_time(np.empty((0, 2)))).all()


def test_block_levels_join_a_short_last_block() -> None:
    assert s.block_levels(np.arange(10.0), 5).tolist() == [2.0, 7.0]
    assert len(s.block_levels(np.arange(12.0), 5)) == 2
    assert len(s.block_levels(np.arange(13.0), 5)) == 3
    assert s.block_levels(np.empty(0), 5).size == 0


def test_trailing_sees_only_what_came_before() -> None:
    values = np.concatenate([np.zeros(60), np.full(60, 9.0)])
    middle, spread = s.trailing(values, window=20)
    assert np.isnan(middle[:10]).all()
    assert (middle[10:70] == 0).all()
    assert middle[-1] == 9.0
    assert spread[65] == 0.0
    assert s.trailing_top(values, 20)[60] == 0.0
    assert s.trailing_top(values, 20)[75] == 9.0


def test_trailing_equals_the_median_of_the_window() -> None:
    values = RNG.normal(size=200)
    middle, _ = s.trailing(values, window=30, stride=10)
    assert middle[100] == np.median(values[70:100])
    assert middle[109] == middle[100]


@pytest.mark.parametrize(
    ("mask", "gap", "expected"),
    [
        ([0, 0, 0], 2, []),
        ([1, 1, 1], 2, [(0, 2)]),
        ([1, 0, 0, 1], 2, [(0, 0), (3, 3)]),
        ([1, 0, 0, 1], 3, [(0, 3)]),
    ],
)
def test_episodes(mask: list[int], gap: int, expected: list[tuple[int, int]]) -> None:
    assert s.episodes(np.array(mask, dtype=bool), gap) == expected


def test_since_is_the_start_of_what_holds_to_the_end() -> None:
    assert s.since(np.array([True, False, True])) == 2
    assert s.since(np.array([True, True])) == 0
    assert s.since(np.array([True, False])) is None
    assert s.since(np.empty(0, dtype=bool)) is None


def test_slope_finds_a_trend_and_its_certainty() -> None:
    line = np.arange(100) * -0.02 + RNG.normal(0, 0.1, 100)
    rise, certainty = s.slope(line)
    assert rise == pytest.approx(-0.02, rel=0.1)
    assert certainty < -10
    assert abs(s.slope(RNG.normal(size=400))[1]) < 4
    assert s.slope(np.array([1.0, 2.0])) == (0.0, 0.0)
    assert s.slope(np.zeros(50)) == (0.0, 0.0)


def test_the_norm_over_layers_skips_absent_ones_and_does_not_overflow() -> None:
    rows = np.array([[3.0, 4.0, np.nan], [1e30, 1e30, 0.0]], dtype=np.float32)
    assert s.root_sum_square(rows) == pytest.approx([5.0, np.sqrt(2) * 1e30])


def test_ratio_of_zeros() -> None:
    assert (s.ratio(0.0, 0.0), s.ratio(2.0, 0.0), s.ratio(1.0, 4.0)) == (
        1,
        np.inf,
        0.25,
    )
