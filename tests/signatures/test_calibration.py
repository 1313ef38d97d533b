"""Calibration error against hand-computed values, and the fitted temperature."""

from __future__ import annotations

import numpy as np
import pytest

from surefoot.signatures.calibration import calibration_error, temperature

SURE = np.repeat([0.9, 0.6], 10)
RIGHT = np.array([1] * 8 + [0] * 2 + [1] * 6 + [0] * 4)


def test_two_bins_by_hand() -> None:
    assert calibration_error(SURE, RIGHT) == pytest.approx(0.05)
    assert calibration_error(SURE, RIGHT, norm="max") == pytest.approx(0.1)
    assert calibration_error(SURE, RIGHT, norm="l2") == pytest.approx(0.1 / np.sqrt(2))


def test_certainty_and_no_examples() -> None:
    assert calibration_error([1.0, 1.0], [1, 1]) == 0.0
    assert calibration_error([], []) == 0.0


def drawn(stretch: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((50_000, 10))
    noise = rng.gumbel(size=scores.shape)
    return stretch * scores, np.argmax(scores + noise, axis=1)


@pytest.mark.parametrize("stretch", [0.4, 1.0, 2.5, 10.0])
def test_the_temperature_undoes_a_stretch(stretch: float) -> None:
    scores, labels = drawn(stretch)
    assert temperature(scores, labels) == pytest.approx(stretch, rel=0.03)


def test_odd_scores_and_labels_are_refused() -> None:
    assert temperature(np.empty((0, 3)), np.empty(0, dtype=int)) == 1.0
    with pytest.raises(ValueError, match="expected 0 to 2"):
        temperature(np.zeros((2, 3)), [0, 3])
    with pytest.raises(ValueError, match=r"expected \[n, classes\]"):
        temperature(np.zeros(3), [0])
