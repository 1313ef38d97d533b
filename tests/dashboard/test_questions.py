"""Queries: what is understood, and that nothing else ever is."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.dashboard import questions
from surefoot.dashboard.questions import QuestionError
from surefoot.report.panels import Query

NAMES = (
    "name", "stream", "start", "stop", "points", "width", "layer", "kind", "step",
    "run", "quantity", "events_from", "other",
)  # fmt: skip
READERS = (
    questions.panel_query,
    questions.field_question,
    questions.comparing,
    questions.events_from,
    questions.followed,
    questions.nothing,
)


def test_a_panel_is_asked_for_in_full():
    pairs = "name=loss stream=g start=100 stop=900 points=50 width=64 layer=a"
    query = questions.panel_query([tuple(one.split("=")) for one in pairs.split()])
    assert query == Query("loss", "g", 64, 900, 50, 64, "a")
    assert questions.panel_query([("name", "loss")]) == Query("loss")


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([], "no name came"),
        ([("name", "loss"), ("start", "-1")], "start came as '-1'"),
        ([("name", "loss"), ("start", "1.5")], "whole number"),
        ([("name", "loss"), ("start", "١")], "whole number"),
        ([("name", "loss"), ("start", "1" * 5000)], "whole number"),
        ([("name", "loss"), ("stop", str(2**63))], "whole number"),
        ([("name", "loss"), ("points", "2001")], "from 2 to 2000"),
        ([("name", "loss"), ("points", "0")], "from 2 to 2000"),
        ([("name", "loss"), ("width", "0")], "whole number"),
        ([("name", "loss"), ("width", "6")], "power of two"),
        ([("name", "loss"), ("start", "5"), ("stop", "5")], "stop above the start"),
        ([("name", "loss"), ("name", "lr")], "twice"),
        ([("name", "loss"), ("callback", "x")], "'callback'"),
    ],
)
def test_what_is_odd_is_refused_with_what_was_expected(pairs, words):
    with pytest.raises(QuestionError, match=words) as caught:
        questions.panel_query(pairs)
    assert "expected" in str(caught.value)


def test_comparisons_name_each_run_once():
    asked = questions.comparing([("run", "a"), ("run", "b"), ("run", "a")])
    assert (asked.runs, asked.quantity, asked.points) == (("a", "b"), "loss", 500)
    with pytest.raises(QuestionError, match="0 runs came"):
        questions.comparing([("quantity", "loss")])
    with pytest.raises(QuestionError, match="501 runs came"):
        questions.comparing([("run", str(at)) for at in range(501)])


VALUES = st.text(max_size=20) | st.integers().map(str) | st.just("8")


@given(st.lists(st.tuples(st.sampled_from(NAMES) | st.text(max_size=4), VALUES)))
def test_any_query_is_read_or_refused(pairs):
    for read in READERS:
        with contextlib.suppress(QuestionError):
            read(pairs)
