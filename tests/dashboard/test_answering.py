"""The one thing that a page may send: a person's answer to a question of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from served import Asked
from surefoot.dashboard.questions import QuestionError, answered
from surefoot.record.answers import answers_of, answers_path
from surefoot.record.folder import find_run
from surefoot.record.writer import RecordWriter
from surefoot.types import Event

HERE = "http://127.0.0.1:7999"
OURS = {"origin": HERE, "content-type": "application/json"}
YES = b'{"question": 1, "answer": "yes"}'


@pytest.fixture
def asking(tmp_path: Path) -> Path:
    """A folder with a run that asked one question, and one that asked none."""
    for name, asks in (("asks", True), ("silent", False)):
        writer = RecordWriter(tmp_path / f"{name}.surefoot", {"created": "2026-01-01"})
        if asks:
            writer.event(Event(5, "question", {"question": 1, "seconds": 600}))
        writer.close()
    return tmp_path


def test_an_answer_is_left_beside_the_record(
    asking: Path, asked: Callable[[Path], Asked]
) -> None:
    app = asked(asking)
    reply = app.get("/api/run/asks/answer", "POST", OURS, YES)
    assert (reply.status, reply.json) == (200, {"question": 1, "answer": "yes"})
    assert answers_of(find_run("asks", asking)) == {1: "yes"}
    # The first answer counts, and the run is listed as before.
    app.get("/api/run/asks/answer", "POST", OURS, YES.replace(b"yes", b"no"))
    assert answers_of(find_run("asks", asking)) == {1: "yes"}
    assert {one["name"] for one in app.get("/api/runs").json["runs"]} == {
        "asks",
        "silent",
    }


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "application/json"}, 403),
        (OURS | {"origin": "http://evil.example"}, 403),
        (OURS | {"origin": "null"}, 403),
        (OURS | {"sec-fetch-site": "cross-site"}, 403),
        (OURS | {"host": "evil.example:7999"}, 403),
        (OURS | {"content-type": "text/plain"}, 415),
        (OURS | {"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"origin": HERE}, 415),
    ],
)
def test_an_answer_from_elsewhere_is_refused(
    headers: dict[str, str], status: int, asking: Path, asked: Callable[[Path], Asked]
) -> None:
    reply = asked(asking).get("/api/run/asks/answer", "POST", headers, YES)
    assert reply.status == status
    assert "expected" in reply.error
    assert not answers_path(find_run("asks", asking)).exists()


@pytest.mark.parametrize(
    ("target", "body", "status"),
    [
        ("/api/run/silent/answer", YES, 404),
        ("/api/run/asks/answer", YES.replace(b"1", b"2"), 404),
        ("/api/run/nobody/answer", YES, 404),
        ("/api/run/..%2Fasks/answer", YES, 405),
        ("/api/run/asks/answer?now=1", YES, 400),
        ("/api/run/asks/answer", b"", 400),
        ("/api/run/asks/answer", b"[1]", 400),
        ("/api/run/asks/answer", YES.replace(b"1", b"1e99"), 400),
        ("/api/run/asks/answer", YES.replace(b"yes", b"maybe"), 400),
        ("/api/run/asks/answer", YES[:-1] + b', "more": 1}', 400),
        ("/api/run/asks/answer", b" " * 2_000 + YES, 413),
    ],
)
def test_what_is_no_answer_is_refused(
    target: str,
    body: bytes,
    status: int,
    asking: Path,
    asked: Callable[[Path], Asked],
) -> None:
    reply = asked(asking).get(target, "POST", OURS, body)
    assert reply.status == status
    assert not answers_path(find_run("asks", asking)).exists()


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_answers_are_sent_and_nothing_else(
    method: str, asking: Path, asked: Callable[[Path], Asked]
) -> None:
    reply = asked(asking).get("/api/run/asks/answer", method, OURS)
    assert reply.status == 405


def test_a_number_that_is_a_truth_value_is_none() -> None:
    with pytest.raises(QuestionError, match="expected such as"):
        answered(b'{"question": true, "answer": "yes"}')
