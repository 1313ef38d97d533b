"""A shift of the inputs is found within one window, and stationary inputs never."""

from __future__ import annotations

import numpy as np
import pytest

from surefoot.signatures.input_shift import jump


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("place", [60, 88, 151, 300])
def test_a_shift_of_one_deviation_is_found(seed: int, place: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(place + 30) / np.sqrt(64)
    values[place:] += 1.0
    found = jump(values, 0.5)
    assert found is not None
    assert abs(found.place - place) <= 2
    assert found.size == pytest.approx(1.0, abs=0.1)


def test_stationary_inputs_do_not_shift() -> None:
    rng = np.random.default_rng(0)
    for batch in (1, 16, 256):
        for _ in range(200):
            assert jump(rng.standard_normal(500) / np.sqrt(batch), 0.5) is None


@pytest.mark.parametrize("change", ["drift", "one batch", "wave"])
def test_other_changes_are_no_shift(change: str) -> None:
    rng = np.random.default_rng(1)
    values = rng.standard_normal(500) / 8
    if change == "drift":
        values += np.linspace(0, 3, 500)
    elif change == "one batch":
        values[200] += 50
    else:
        values += np.sin(np.arange(500) / 40)
    assert jump(values, 0.5) is None
