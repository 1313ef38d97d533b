"""The diagnosis that a run leaves in its record, and what is made of garbage there."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import surefoot
from surefoot import lookout
from surefoot.diagnosis.examine import examine
from surefoot.diagnosis.stored import KEY, last_word, steps_of, stored_in, to_store
from surefoot.record.reader import RecordReader
from surefoot.types import Diagnosis, Evidence, Finding

FOUND = Diagnosis(
    cause="divergence",
    about="the loss went away",
    layer="run",
    onset=7,
    confidence=0.9,
    findings=(
        Finding(
            "divergence",
            "run",
            7,
            "critical",
            (Evidence("loss, step 7", math.inf, 2.0, "a paper"),),
            detail={"first": 3.0},
        ),
    ),
)


def ruined(folder: Path, steps: int) -> Any:
    """A run of so many steps whose rate is far too large, and closed."""
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=40.0)
    with surefoot.watch(model, optimizer, folder=folder) as run:
        for _ in range(steps):
            loss = (model(torch.ones(8, 4)) - 1).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.step(loss)
    return run


def test_a_diagnosis_survives_its_way_through_json() -> None:
    text = json.dumps(to_store([FOUND], 12), allow_nan=False)
    stored = stored_in(json.loads(text))
    assert stored is not None
    assert stored.found == (FOUND,)
    assert stored.steps == 12


def test_an_ended_run_leaves_its_last_word_in_the_record(tmp_path: Path) -> None:
    run = ruined(tmp_path, 60)
    with RecordReader(run.path) as reader:
        found = last_word(reader)
        assert found
        # What was seen first is a NaN, which equals nothing until it is a word.
        assert to_store(found, 60) == to_store(examine(reader), 60)
        assert reader.meta[KEY]["steps"] == steps_of(reader) == 60
        assert reader.events()[-1].kind == "end"


def test_a_large_record_is_not_looked_at_again_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookout, "LAST_LOOK_BYTES", 0)
    run = ruined(tmp_path, 60)
    with RecordReader(run.path) as reader:
        assert reader.status() == "finished"
        assert last_word(reader) is None
        assert KEY not in reader.meta


@pytest.mark.parametrize(
    "told",
    [
        None,
        [],
        {"steps": 3},
        {"steps": "3", "surefoot": "0.1.0", "found": []},
        {"steps": 3, "surefoot": "0.1.0", "found": [{"cause": "x"}]},
        to_store([FOUND], 3) | {"found": [{**to_store([FOUND], 3), "findings": []}]},
    ],
)
def test_garbage_is_taken_for_no_diagnosis(told: Any) -> None:
    assert stored_in(told) is None


def test_a_finding_without_evidence_is_refused_here_too() -> None:
    told = to_store([FOUND], 3)
    told["found"][0]["findings"][0]["evidence"] = []
    assert stored_in(told) is None


@given(
    st.dictionaries(
        st.sampled_from(["steps", "surefoot", "found"]),
        st.integers() | st.text(max_size=3) | st.lists(st.none(), max_size=2),
    )
)
def test_any_object_is_read_or_refused_calmly(told: dict[str, object]) -> None:
    stored = stored_in(told)
    assert stored is None or stored.found == ()
