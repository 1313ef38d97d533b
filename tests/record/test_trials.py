"""Verdicts beside a record: what is added is read, what is odd is passed over."""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.record.trials import add_trial, trials_of, trials_path
from surefoot.record.values import strict, value_of
from surefoot.types import Change, Prescription, Verdict

REMEDY = Prescription("lower_lr", (Change("lr", "scale", 0.5),), "calm", "a paper")
TRIED = Verdict(
    prescription=REMEDY,
    metric="accuracy",
    seeds=(0, 1),
    baseline=(0.5, math.inf),
    treated=(0.75, -math.inf),
    effect=0.25,
    interval=(0.1, 0.4),
    held=True,
)


def test_verdicts_are_read_as_they_were_added(tmp_path: Path) -> None:
    record = tmp_path / "net.surefoot"
    assert trials_of(record) == []
    other = replace(TRIED, metric="loss", held=False)
    add_trial(record, TRIED)
    assert add_trial(record, other) == tmp_path / "net.trials.json"
    assert trials_of(record) == [TRIED, other]
    assert [one.name for one in tmp_path.iterdir()] == ["net.trials.json"]
    json.loads(trials_path(record).read_text(), parse_constant=pytest.fail)


def test_a_failed_branch_comes_back_as_no_number(tmp_path: Path) -> None:
    record = tmp_path / "net.surefoot"
    add_trial(record, replace(TRIED, treated=(math.nan, 0.5)))
    [read] = trials_of(record)
    assert math.isnan(read.treated[0])
    assert read.treated[1] == 0.5


def test_the_list_stays_short(tmp_path: Path) -> None:
    record = tmp_path / "net.surefoot"
    for index in range(53):
        add_trial(record, replace(TRIED, metric=f"metric {index}"))
    assert [one.metric for one in trials_of(record)][::49] == ["metric 3", "metric 52"]


@pytest.mark.parametrize(
    "text", [b"", b"{", b"{}", b"null", b"[1, {}, []]", b"\xff\xfe", b"[" * 5000]
)
def test_a_file_of_something_else_holds_no_verdicts(
    text: bytes, tmp_path: Path
) -> None:
    record = tmp_path / "net.surefoot"
    trials_path(record).write_bytes(text)
    assert trials_of(record) == []


def test_one_odd_entry_does_not_hide_the_others(tmp_path: Path) -> None:
    record = tmp_path / "net.surefoot"
    bad = strict(TRIED) | {"held": "perhaps"}
    trials_path(record).write_text(json.dumps([bad, strict(TRIED), 7]))
    assert trials_of(record) == [TRIED]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"interval": [0.1]}, "Verdict.interval"),
        ({"seeds": [1.5]}, r"Verdict.seeds\[0\]"),
        ({"effect": True}, "Verdict.effect"),
        ({"effect": 10**400}, "Verdict.effect"),
        ({"prescription": {"remedy": "x"}}, "Verdict.prescription"),
    ],
)
def test_a_refusal_names_the_field(change: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        value_of(Verdict, strict(TRIED) | change)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(list(strict(TRIED))), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON, st.sampled_from(list(strict(TRIED))))
def test_any_json_is_a_verdict_or_a_refusal(value: object, key: str) -> None:
    for told in (value, strict(TRIED) | {key: value}):
        with contextlib.suppress(ValueError):
            assert isinstance(value_of(Verdict, told), Verdict)
