"""Rescues beside a record: what was told comes back, what is broken is passed over."""

from __future__ import annotations

import math
from pathlib import Path

from surefoot.record.rescues import (
    RescueAttempt,
    Rescued,
    add_rescue,
    rescues_of,
    rescues_path,
)

ALONE = RescueAttempt((), 0.1, (2.0, math.nan, math.inf))
BEST = RescueAttempt(("lr × 0.1",), 0.9, (2.0, 0.5), chosen=True)
TOLD = Rescued("Repaired", "accuracy", (ALONE, BEST), 1.0)


def test_what_was_told_comes_back(tmp_path: Path) -> None:
    record = tmp_path / "net.surefoot"
    add_rescue(record, TOLD)
    (found,) = rescues_of(record)
    assert found.attempts[1] == BEST
    assert math.isnan(found.attempts[0].losses[1])
    assert found.attempts[0].losses[2] == math.inf


def test_what_is_broken_is_passed_over(tmp_path: Path) -> None:
    record = tmp_path / "net.surefoot"
    assert rescues_of(record) == []
    rescues_path(record).write_text('[{"headline": 3}, 7]', encoding="utf-8")
    assert rescues_of(record) == []
    add_rescue(record, TOLD)
    assert [one.headline for one in rescues_of(record)] == ["Repaired"]
