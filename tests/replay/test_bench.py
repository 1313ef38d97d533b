"""The bench of replays fails where a target is missed."""

from __future__ import annotations

from benchmarks.replay.__main__ import Row, failures


def row(name: str, told: str, right: bool | None, first: float = 0.2) -> Row:
    planted = name.rpartition("-")[0]
    return Row(name, planted, told, told, right, window=0.1, first=first)


def test_a_missed_target_is_named() -> None:
    good = [row(f"rate_jump-{k}", "learning rate too high", True) for k in range(9)]
    calm = row("healthy-1", "", True)
    assert failures([*good, calm, row("rate_jump-9", "", None)]) == []
    wrong = row("rate_jump-9", "bad batch", False)
    assert failures([*good, wrong]) == []
    assert failures([*good[:8], wrong]) == ["MISSED: 89% of causes are right"]
    late = row("root-1", "numeric fault", True, 1.1)
    assert failures([late]) == ["MISSED: the first verdict on root-1 came late"]
    accused = row("healthy-1", "bad batch", False)
    assert failures([accused]) == [
        "MISSED: the healthy run healthy-1 is laid to a cause"
    ]
    assert failures([row("root-2", "", None)]) == ["MISSED: 0% of causes are right"]
