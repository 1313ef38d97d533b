"""Replays beside a record: what is added is read, what is odd is passed over."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from surefoot.record.replays import (
    BranchVerdict,
    Replayed,
    add_replay,
    replays_of,
    replays_path,
)
from surefoot.types import Change, Prescription

SLOWER = Prescription("lower lr", (Change("lr", "scale", 0.5),), "calm", "a paper")
TOLD = Replayed(
    incident="net.1.incident.safetensors",
    first=100,
    parting=110,
    onset=120,
    last=150,
    result="prevented",
    cause="learning rate too high",
    evidence=("the rate was multiplied by 30 at step 120",),
    layers=("net.0",),
    remedy=SLOWER,
    branches=(BranchVerdict(SLOWER, "prevented", 0.1, 0.2, (0.3, 0.1)),),
    recorded=(0.3, 0.1),
    departs=130,
)


def test_replays_are_read_as_they_were_added(tmp_path: Path) -> None:
    record = tmp_path / "net.surefoot"
    assert replays_of(record) == []
    other = replace(TOLD, result="no remedy helped", remedy=None, departs=None)
    add_replay(record, TOLD)
    assert add_replay(record, other) == tmp_path / "net.replays.json"
    assert replays_of(record) == [TOLD, other]
    json.loads(replays_path(record).read_text(), parse_constant=pytest.fail)


def test_what_is_no_replay_is_passed_over(tmp_path: Path) -> None:
    record = tmp_path / "net.surefoot"
    path = add_replay(record, TOLD)
    odd = [{}, [], "x", {"incident": 3}, json.loads(path.read_text())[0]]
    odd.append(odd[-1] | {"result": "cured"})
    path.write_text(json.dumps(odd))
    assert replays_of(record) == [TOLD]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="absent"):
        add_replay(tmp_path / "absent" / "net.surefoot", TOLD)
