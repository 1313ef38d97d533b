"""Streams of news: what they tell and when they end; and many questions at once."""

from __future__ import annotations

import asyncio
import json

from hypothesis import given
from hypothesis import strategies as st

from served import block, writer_of
from surefoot.dashboard.news import Feed, list_changes, message, messages, whole
from surefoot.types import Event


def read(text):
    """The name and the body of a message; None of a comment."""
    lines = text.decode().split("\n")
    if lines[0].startswith((":", "retry")):
        return None
    assert lines[2:] == ["", ""]
    return lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: "))


def told(answering, states, **how):
    """What a stream tells of states, one a look, until there are no more."""
    left = list(states)

    async def look():
        return left.pop(0)

    async def ended():
        return not left

    async def collected():
        feed = Feed("run", look, whole, ended)
        return [one async for one in messages(feed, poll=0.0, **how)]

    return answering.run(collected())


def test_only_changes_are_told_after_the_state(answering):
    texts = told(answering, [1, 1, 2, 2, 2, 3])
    assert texts[0].startswith(b"retry: ")
    assert [read(one) for one in texts[1:]] == [("run", 1), ("run", 2), ("run", 3)]


def test_a_quiet_stream_still_says_that_it_is_there(answering):
    texts = told(answering, [1, 1, 1], heartbeat=0.0)
    assert read(texts[1]) == ("run", 1)
    assert [one.startswith(b":") for one in texts[2:]] == [True, True]


def test_a_text_of_many_lines_is_one_line_of_a_message():
    assert read(message("run", "a\nb\r\u2028c\n\n")) == ("run", "a\nb\r\u2028c\n\n")


LISTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 2)).map(
    lambda found: [{"name": name, "steps": at} for name, at in found.items()]
)


@given(LISTS, LISTS)
def test_changes_lead_from_one_list_to_the_other(before, after):
    changes = list_changes(before, after)
    known = {one["name"]: one for one in before}
    for name in changes["gone"]:
        del known[name]
    for one in changes["runs"]:
        assert known.get(one["name"]) != one
        known[one["name"]] = one
    assert known == {one["name"]: one for one in after}
    assert list_changes(None, after) == {"runs": after, "gone": []}


def test_many_questions_while_a_run_is_written_ended_and_deleted(asked, folder):
    dashboard = asked(folder)
    path = folder / "growing.surefoot"
    writer = writer_of(path)
    targets = [
        "/api/runs", "/api/run/growing", "/api/run/growing/panel?name=loss",
        "/api/run/growing/panel?name=grad_norm&layer=fc.bias",
        "/api/run/growing/verdict", "/api/compare?run=growing&run=healthy",
    ]  # fmt: skip

    async def at_once():
        host = [(b"host", b"127.0.0.1:7999")]
        asking = [dashboard._get(one, "GET", host, b"") for one in targets * 3]
        return await asyncio.gather(*asking)

    def answers():
        return {reply.status for reply in dashboard.run(at_once())}

    for start in range(0, 500, 50):
        for quantity in ("loss", "grad_norm"):
            writer.append(block(quantity, start, 50))
        assert answers() <= {200, 404}
    writer.flush()
    assert answers() == {200}
    assert dashboard.get("/api/run/growing").json["run"]["steps"] == 500
    writer.event(Event(500, "end", {"status": "finished"}))
    writer.close()
    assert [one.name for one in folder.glob("growing*")] == ["growing.surefoot"]
    assert answers() == {200}
    path.unlink()
    assert answers() == {200, 404}
