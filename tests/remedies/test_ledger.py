"""The ledger: verdicts are kept, and what helped before comes first."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from surefoot.remedies.ledger import Entry, entries, rank, record_verdict
from surefoot.types import Change, Diagnosis, Evidence, Finding, Prescription, Verdict

FINDING = Finding("not_learning", "run", 0, "critical", (Evidence("a", 1, 2, "b"),))
CAUSE = Diagnosis("dead ReLU", "about", "3", 0, 0.9, (FINDING,))


def remedy(name: str) -> Prescription:
    return Prescription(name, (Change("lr", "scale", 0.1),), "expect", "source")


def verdict(name: str, held: bool) -> Verdict:
    return Verdict(
        prescription=remedy(name),
        metric="accuracy",
        seeds=(0, 1),
        baseline=(0.1, 0.1),
        treated=(0.9, 0.8),
        effect=0.75,
        interval=(0.1, 1.4),
        held=held,
    )


def test_verdicts_are_read_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "remedies.jsonl"
    assert entries(path) == []
    record_verdict(path, verdict("clip", True), CAUSE)
    record_verdict(path, verdict("lower", False), CAUSE)
    assert entries(path) == [
        Entry("dead ReLU", "clip", True, 0.75),
        Entry("dead ReLU", "lower", False, 0.75),
    ]


def test_the_verdict_on_a_branch_that_diverged_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "remedies.jsonl"
    lost = replace(verdict("clip", True), baseline=(float("nan"), float("inf")))
    record_verdict(path, lost, CAUSE)
    assert json.loads(path.read_text())["baseline"] == [None, None]
    assert len(entries(path)) == 1


def test_a_line_cut_by_a_crash_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "remedies.jsonl"
    record_verdict(path, verdict("clip", True), CAUSE)
    with path.open("a") as file:
        file.write('{"cause": "dead ReLU", "remedy": "low\n[1]\n{}\n')
    assert len(entries(path)) == 1


def test_what_held_before_comes_first_and_what_failed_last() -> None:
    ledger = [
        Entry("dead ReLU", "lower", True, 0.1),
        Entry("dead ReLU", "clip", False, 0.0),
        Entry("bad batch", "clip", True, 0.5),
    ]
    names = ["clip", "warm-up", "lower"]
    found = rank([remedy(name) for name in names], "dead ReLU", ledger)
    assert [one.remedy for one in found] == ["lower", "warm-up", "clip"]


def test_without_experience_the_order_stays() -> None:
    given = [remedy("b"), remedy("a")]
    assert rank(given, "dead ReLU", []) == tuple(given)
