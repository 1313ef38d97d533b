"""Staleness from norms alone, and the lag between gradient and loss."""

from __future__ import annotations

import numpy as np
import pytest

from surefoot.signatures.early_warning import lagged
from surefoot.signatures.memory import moving_average, staleness


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.95, 0.999])
@pytest.mark.parametrize("steps", [1, 7, 500, 5000])
def test_the_average_is_that_of_a_loop(beta: float, steps: int) -> None:
    values = np.random.default_rng(0).random((steps, 3)) * 10.0 ** np.arange(-4, 5, 4)
    expected, last = np.empty_like(values), np.zeros(3)
    for i, row in enumerate(values):
        last = beta * last + (1 - beta) * row
        expected[i] = last
    np.testing.assert_allclose(moving_average(values, beta), expected, rtol=1e-9)


def test_a_steady_gradient_is_not_stale() -> None:
    assert staleness(np.full((100, 2), 3.0), 0.999) == pytest.approx(1.0)


def test_a_jump_is_seen_at_its_step() -> None:
    norms = np.ones((200, 1))
    norms[150:] = 10.0
    found = staleness(norms, 0.999)[:, 0]
    assert found[149] == pytest.approx(1.0)
    assert found[150] == pytest.approx(10.0)
    assert found[199] < 10.0


@pytest.mark.parametrize("lag", [0, 3, 5, 12])
def test_a_planted_lag_is_recovered(lag: int) -> None:
    rng = np.random.default_rng(lag)
    gradient = rng.standard_normal(400).cumsum()
    loss = np.roll(gradient, lag) + 0.3 * rng.standard_normal(400)
    assert lagged(gradient, loss, 20)[0] == lag


def test_what_does_not_change_has_no_lag() -> None:
    assert lagged(np.ones(50), np.ones(50), 5) == (0, 0.0)
    assert lagged(np.arange(4.0), np.arange(4.0), 5) == (0, 0.0)
