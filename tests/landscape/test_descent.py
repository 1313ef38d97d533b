"""Descents: the path is the optimizer's own, and it ends where it should."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from surefoot.landscape.descent import OPTIMIZERS, Factory, descend, race
from surefoot.landscape.functions import (
    BANANA,
    BOWL,
    DOUBLE_WELL,
    HIGHER_WELL,
    LOWER_WELL,
    VALLEY,
)


@pytest.mark.parametrize("name", list(OPTIMIZERS))
@pytest.mark.parametrize(("start", "well"), [(-1.5, LOWER_WELL), (1.5, HIGHER_WELL)])
def test_in_the_double_well_the_start_decides(
    name: str, start: float, well: tuple[float, float]
) -> None:
    # Rates that keep an optimizer with momentum from rolling over the pass.
    slow: dict[str, Factory] = {
        "Momentum": partial(torch.optim.SGD, lr=0.01, momentum=0.9),
        "Nesterov": partial(torch.optim.SGD, lr=0.01, momentum=0.9, nesterov=True),
        "RMSprop": partial(torch.optim.RMSprop, lr=0.005),
        "AdamW": partial(torch.optim.AdamW, lr=0.05, weight_decay=0.0),
    }
    made = slow.get(name, OPTIMIZERS[name])
    found = descend(DOUBLE_WELL, made, start=(start, 0.5), steps=600)
    assert found.end == pytest.approx(well, abs=0.01)
    assert found.losses[-1] < found.losses[0]


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_points_are_those_that_the_optimizer_wrote(name: str) -> None:
    weight = torch.nn.Parameter(torch.tensor((-1.2, 1.1), dtype=torch.float64))
    optimizer = OPTIMIZERS[name]([weight])
    log = [weight.tolist()]
    for _ in range(20):
        optimizer.zero_grad()
        BANANA.value(weight).backward()
        optimizer.step()
        log.append(weight.tolist())
    found = descend(BANANA, OPTIMIZERS[name], start=(-1.2, 1.1), steps=20)
    kept = min(len(log), len(found.points))
    np.testing.assert_array_equal(found.points, np.array(log)[:kept])
    assert kept == 21 or found.diverged


def test_losses_are_those_at_the_points() -> None:
    found = descend(BOWL, OPTIMIZERS["Adam"], start=(1.0, -1.5), steps=9)
    assert found.steps == 9
    assert found.start == (1.0, -1.5)
    np.testing.assert_allclose(found.losses, (found.points**2).sum(1) / 2)


def test_gradient_descent_on_a_quadratic_follows_its_closed_form() -> None:
    rate = 0.015
    factors = 1 - rate * np.array([100.0, 0.1])
    found = descend(
        VALLEY, partial(torch.optim.SGD, lr=rate), start=(0.4, 3.0), steps=50
    )
    expected = np.array([0.4, 3.0]) * factors ** np.arange(51)[:, None]
    np.testing.assert_allclose(found.points, expected, rtol=1e-10)


def test_an_optimizer_that_evaluates_several_times_a_step_is_followed() -> None:
    lbfgs = partial(torch.optim.LBFGS, lr=0.5, max_iter=4)
    found = descend(BANANA, lbfgs, start=(-1.5, 2.5), steps=40)
    assert found.steps == 40
    assert found.losses[-1] < 1e-6


def test_one_that_diverges_ends_with_its_last_finite_point() -> None:
    wild = partial(torch.optim.SGD, lr=0.05)
    found = descend(BANANA, wild, start=(-1.5, 2.5), steps=100)
    assert found.diverged
    assert found.steps < 100
    assert np.isfinite(found.points).all()
    assert np.isfinite(found.losses).all()
    assert len(found.points) == len(found.losses)


def test_noise_is_the_same_for_all_and_leaves_random_streams_alone() -> None:
    before = torch.get_rng_state()
    one, two = race(
        BOWL,
        {"a": OPTIMIZERS["SGD"], "b": OPTIMIZERS["SGD"]},
        starts=[(1.0, 1.0)],
        noise=0.3,
        steps=30,
    )
    still = descend(BOWL, OPTIMIZERS["SGD"], start=(1.0, 1.0), steps=30)
    np.testing.assert_array_equal(one.points, two.points)
    assert not np.allclose(one.points, still.points)
    assert torch.equal(before, torch.get_rng_state())


def test_a_race_runs_every_optimizer_from_every_start() -> None:
    found = race(BOWL, steps=2)
    assert [one.optimizer for one in found[::2]] == list(OPTIMIZERS)
    assert [one.start for one in found[:2]] == list(BOWL.starts)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"start": (1.0,)}, "two finite numbers"),
        ({"start": (1.0, float("nan"))}, "two finite numbers"),
        ({"steps": -1}, "below zero; -1"),
        ({"noise": -0.5}, "below zero; 100 and -0.5"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        descend(BOWL, OPTIMIZERS["SGD"], **{"start": (1.0, 1.0)} | change)
