"""Harm is told from chance: known scores come in, known verdicts are expected."""

from __future__ import annotations

import math

import numpy as np
import pytest

from surefoot.zoo.harm import harm, mcnemar
from surefoot.zoo.task import Scores


def answers(right: int, of: int = 500, loss: float = 0.2) -> Scores:
    return Scores(np.full(of, loss), np.arange(of) < right)


def test_mcnemar_is_exact() -> None:
    # 10 of 12 changed answers were lost: 2 · (1 + 12 + 66) / 2^12.
    one = np.array([False] * 10 + [True] * 2 + [True] * 50)
    other = np.array([True] * 10 + [False] * 2 + [True] * 50)
    assert mcnemar(one, other) == pytest.approx(158 / 4096)
    assert mcnemar(one, one) == 1.0


def test_a_large_loss_of_accuracy_is_harm() -> None:
    found = harm(answers(430), answers(480))
    assert found.held
    assert found.measure == "accuracy"
    assert found.effect == pytest.approx(0.1)


def test_a_small_loss_of_accuracy_is_no_harm() -> None:
    assert not harm(answers(475), answers(480)).held


def test_a_loss_within_the_spread_of_seeds_is_no_harm() -> None:
    assert not harm(answers(430), answers(480), spread=0.05).held


def test_a_gain_is_no_harm() -> None:
    assert not harm(answers(490), answers(430)).held


def test_answers_that_change_both_ways_are_no_harm() -> None:
    rng = np.random.default_rng(0)
    faulty, twin = rng.random(500) < 0.50, rng.random(500) < 0.53
    same = np.full(500, 0.7)
    assert not harm(Scores(same, faulty), Scores(same, twin)).held


def test_confidence_in_wrong_answers_is_harm() -> None:
    rng = np.random.default_rng(0)
    faulty = Scores(2.0 + rng.random(500), answers(480).right)
    assert harm(faulty, answers(480)).measure == "loss"
    assert harm(faulty, answers(480)).held


def test_what_is_not_finite_is_harm() -> None:
    broken = Scores(np.array([0.1, math.nan]), np.array([True, False]))
    assert harm(broken, answers(2, 2)).held
    assert harm(None, answers(2, 2)).held


@pytest.mark.parametrize(("shift", "held"), [(0.0, False), (0.5, True)])
def test_a_loss_alone_is_tested_in_pairs(shift: float, held: bool) -> None:
    rng = np.random.default_rng(1)
    twin = rng.random(32)
    faulty = twin + shift + 0.1 * rng.standard_normal(32)
    assert harm(Scores(faulty), Scores(twin)).held == held
    assert not harm(Scores(faulty), Scores(twin), spread=1.0).held


def test_without_a_twin_nothing_is_claimed() -> None:
    assert not harm(answers(10), None).held
