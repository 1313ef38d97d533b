"""Where nothing may be redrawn: plain lines, ever more rarely."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from surefoot.terminal.view import Manner, View, manner_of


class Clock:
    """Seconds that pass when they are told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def told(seconds: float) -> list[float]:
    """When lines come, of a view that is shown twice a second."""
    clock, stream = Clock(), io.StringIO()
    view = View(stream, Manner(False, False, False), clock=clock)
    while clock.now < seconds:
        clock.now += 0.5
        view.show(["never"], f"{clock.now}")
    return [float(line) for line in stream.getvalue().splitlines()]


def test_plain_lines_come_ever_more_rarely() -> None:
    assert told(20) == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0]
    assert len(told(3600)) < 130


def test_an_alarm_comes_at_once() -> None:
    stream = io.StringIO()
    view = View(stream, Manner(False, False, False), clock=Clock())
    view.keep("alarm")
    assert stream.getvalue() == "alarm\n"


def test_a_log_whose_disk_is_full_ends_nothing(tmp_path: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    with open("/dev/full", "w", buffering=1) as stream:
        view = View(stream, Manner(False, False, False))
        view.keep("alarm")
        view.clear()
        os.dup2(os.open(tmp_path / "spare", os.O_CREAT | os.O_RDWR), stream.fileno())


def test_a_stream_that_was_closed_ends_nothing() -> None:
    stream = io.StringIO()
    view = View(stream, Manner(False, False, False), clock=Clock())
    stream.close()
    view.keep("alarm")
    view.clear()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "no-such"])
def test_an_encoding_without_blocks_is_seen(encoding: str) -> None:
    class Stream(io.StringIO):
        pass

    stream = Stream()
    Stream.encoding = encoding  # type: ignore[assignment, misc]
    assert manner_of(stream, {"TERM": "xterm"}).ascii_only
    Stream.encoding = "utf-8"  # type: ignore[assignment, misc]
    assert not manner_of(stream, {"TERM": "xterm"}).ascii_only


def test_what_an_encoding_has_not_is_replaced() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    view = View(stream, Manner(False, False, True), clock=Clock())
    view.keep("layer ☃ of net")
    assert raw.getvalue() == b"layer ? of net\n"
