"""Verdicts: right intervals, no favour for a remedy that does nothing."""

from __future__ import annotations

import numpy as np
import pytest

from surefoot.experiments.verdict import verdict
from surefoot.signatures.statistics import t_limit
from surefoot.types import Prescription

REMEDY = Prescription("planted", (), "", "")


def test_a_null_remedy_is_covered_by_its_interval() -> None:
    """Of 200 ablations without effect, about 95 % of the intervals hold zero."""
    generator = np.random.default_rng(0)
    covered = held = 0
    for _ in range(200):
        base, treated = generator.normal(size=(2, 5))
        found = verdict(REMEDY, "score", seeds=range(5), baseline=base, treated=treated)
        covered += found.interval[0] <= 0 <= found.interval[1]
        held += found.held
    assert 183 <= covered <= 198
    assert held <= 12


def test_limits_of_student() -> None:
    assert [round(t_limit(n), 3) for n in (1, 2, 4, 9, 30)] == [
        12.706,
        4.303,
        2.776,
        2.262,
        2.042,
    ]


def test_a_failed_run_counts_as_the_worst_seen() -> None:
    found = verdict(
        REMEDY,
        "accuracy",
        seeds=(0, 1, 2),
        baseline=(0.8, 0.81, 0.79),
        treated=(0.9, float("nan"), 0.9),
    )
    assert not found.held
    assert found.effect == pytest.approx((0.1 - 0.02 + 0.11) / 3)


def test_lower_can_be_better() -> None:
    found = verdict(
        REMEDY,
        "loss",
        seeds=(0, 1, 2),
        baseline=(2.3, 2.3, 2.3),
        treated=(0.1, 0.2, 0.1),
        higher_is_better=False,
    )
    assert found.held
    assert found.effect > 2


@pytest.mark.parametrize(
    ("seeds", "baseline", "treated", "message"),
    [
        ((0,), (1.0,), (1.0,), "two at least"),
        ((0, 1), (1.0,), (1.0, 2.0), "same number"),
        ((0, 1), (np.nan, np.nan), (np.nan, np.inf), "finite metric"),
    ],
)
def test_nonsense_is_refused(seeds, baseline, treated, message) -> None:
    with pytest.raises(ValueError, match=message):
        verdict(REMEDY, "m", seeds=seeds, baseline=baseline, treated=treated)
