from __future__ import annotations

import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from surefoot.record.rollup import rollup

STEPS = st.lists(st.integers(0, 3000), min_size=1, max_size=200, unique=True).map(
    lambda found: np.array(sorted(found), dtype=np.int64)
)
FLOATS = st.floats(width=32)


@given(steps=STEPS, bins=st.integers(2, 50), data=st.data())
def test_every_extreme_survives(steps, bins, data) -> None:
    shape = (len(steps), data.draw(st.integers(1, 3)))
    values = data.draw(arrays.arrays(np.float32, shape, elements=FLOATS))
    found = rollup(values, steps, bins)
    assert len(found.steps) <= bins
    assert found.width & (found.width - 1) == 0
    np.testing.assert_array_equal(np.fmax.reduce(found.high), np.fmax.reduce(values))
    np.testing.assert_array_equal(np.fmin.reduce(found.low), np.fmin.reduce(values))
    broken = ~np.isfinite(values)
    np.testing.assert_array_equal(found.broken.any(axis=0), broken.any(axis=0))
    which = np.searchsorted(found.steps, steps, side="right") - 1
    for index in range(len(found.steps)):
        inside = values[which == index]
        assert len(np.unique(steps[which == index] // found.width)) == 1
        np.testing.assert_array_equal(found.high[index], np.fmax.reduce(inside))
        np.testing.assert_array_equal(
            found.broken[index], broken[which == index].any(0)
        )


@given(STEPS, st.integers(2, 50))
def test_bins_are_no_wider_than_needed(steps, bins) -> None:
    width = rollup(np.zeros(len(steps), np.float32), steps, bins).width
    assert width == 1 or len(np.unique(steps // (width // 2))) > bins


@pytest.mark.parametrize("spike", [np.inf, -np.inf, np.nan, 1e30])
def test_spike_of_one_step_survives(spike) -> None:
    loss = np.ones(10**6, np.float32)
    loss[765_432] = spike
    found = rollup(loss, np.arange(10**6), 2000)
    at = np.searchsorted(found.steps, 765_432, side="right") - 1
    if np.isnan(spike):
        assert np.flatnonzero(found.broken).tolist() == [at]
        assert found.high[at] == 1
    else:
        assert spike in (found.low[at], found.high[at])
        assert bool(found.broken[at]) is bool(np.isinf(spike))


def test_growing_run_does_not_shift_its_bins() -> None:
    values = np.random.default_rng(0).random(5000, np.float32)
    steps = np.arange(5000)
    short, long = rollup(values[:4500], steps[:4500], 90), rollup(values, steps, 90)
    assert short.width == long.width == 64
    np.testing.assert_array_equal(short.high[:70], long.high[:70])


def test_few_points_stay_as_they_are() -> None:
    steps = np.array([3, 1000, 50_000])
    found = rollup(np.array([1, 2, 3], np.float32), steps, 3)
    assert found.width == 1
    np.testing.assert_array_equal(found.steps, steps)
    np.testing.assert_array_equal(found.low, [1, 2, 3])


def test_nothing_gives_nothing() -> None:
    found = rollup(np.empty((0, 4), np.float32), np.empty(0, np.int64), 10)
    assert found.low.shape == (0, 4)
    assert len(found.steps) == 0


def test_bad_arguments_are_clear_errors() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        rollup(np.zeros(3, np.float32), np.arange(3), 1)
    with pytest.raises(ValueError, match="3 values came with 4 steps"):
        rollup(np.zeros(3, np.float32), np.arange(4), 10)
