"""Whatever a sink does, who records does not feel it, and is told of it."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

import numpy as np
import pytest

from surefoot.sinks import delivery
from surefoot.sinks.delivery import Delivery, close_all
from surefoot.types import RUN, Event, Series

ROWS = 50


def block(number: int) -> Series:
    steps = np.arange(number * ROWS, (number + 1) * ROWS)
    return Series("loss", RUN, steps, np.full((ROWS, 1), number, np.float32))


BLOCK_BYTES = block(0).values.nbytes + block(0).steps.nbytes


class Listed:
    """A sink that keeps what it is given, when it may."""

    def __init__(self, *, waits: bool = False) -> None:
        self.may = threading.Event()
        self.busy = threading.Event()
        self.taken: list[Any] = []
        self.closed = False
        if not waits:
            self.may.set()

    def write(self, series: Series) -> None:
        self.busy.set()
        self.may.wait()
        self.taken.append(series)

    def event(self, event: Event) -> None:
        self.taken.append(event)

    def close(self) -> None:
        self.closed = True


class Failing(Listed):
    """A sink that fails on the third block."""

    def write(self, series: Series) -> None:
        if len(self.taken) == 2:
            raise OSError("the server said no")
        super().write(series)


def delivered(sink: Any, **options: Any) -> tuple[Delivery, list[Event]]:
    told: list[Event] = []
    return Delivery(sink, told.append, **options), told


def test_everything_arrives_in_order() -> None:
    sink = Listed()
    one, told = delivered(sink)
    sent: list[Any] = []
    for number in range(200):
        sent += [block(number), Event(number, "finding", {})]
        one.write(sent[-2])
        one.event(sent[-1])
    one.close()
    assert sink.taken == sent
    assert sink.closed
    assert (told, one.dropped) == ([], 0)


def test_what_does_not_fit_is_dropped_and_counted(caplog: Any) -> None:
    sink = Listed(waits=True)
    one, told = delivered(sink, queue_bytes=3 * BLOCK_BYTES)
    one.write(block(0))
    assert sink.busy.wait(30)  # the first has left the queue
    for number in range(1, 101):
        one.write(block(number))
    assert one.dropped == 97
    sink.may.set()
    with caplog.at_level(logging.WARNING, logger="surefoot"):
        one.close()
    assert [int(series.values[0, 0]) for series in sink.taken] == [0, 1, 2, 3]
    [event] = told
    assert (event.kind, event.step) == ("sink_dropped", 101 * ROWS - 1)
    assert event.body == {"sink": "Listed", "dropped": 97, "hanging": False}
    assert "Listed: 97 blocks and events did not reach it" in caplog.text


def test_a_sink_that_raises_is_switched_off_alone_and_named_once(caplog: Any) -> None:
    failing, other = Failing(), Listed()
    (one, told), (two, _) = delivered(failing), delivered(other)
    with caplog.at_level(logging.WARNING, logger="surefoot"):
        for number in range(50):
            one.write(block(number))
            two.write(block(number))
        close_all([one, two])
    assert len(failing.taken) == 2
    assert failing.closed
    assert len(other.taken) == 50
    [event] = told
    assert event.kind == "sink_off"
    assert event.body == {"sink": "Failing", "error": "OSError: the server said no"}
    assert caplog.text.count("the server said no") == 1


def test_a_sink_that_hangs_is_left_behind() -> None:
    hanging, other = Listed(waits=True), Listed()
    (one, told), (two, fine) = delivered(hanging), delivered(other)
    for number in range(5):
        one.write(block(number))
        two.write(block(number))
    assert hanging.busy.wait(30)
    close_all([one, two], timeout_seconds=0.05)
    assert two.ended(30)
    assert len(other.taken) == 5
    [event] = told
    assert event.body == {"sink": "Listed", "dropped": 5, "hanging": True}
    assert fine in ([], fine[:1])
    one.write(block(9))
    hanging.may.set()
    assert one.ended(30)
    assert len(hanging.taken) == 1


def test_a_sink_whose_end_fails_is_told_of() -> None:
    class Unclosable(Listed):
        def close(self) -> None:
            raise RuntimeError("no")

    one, told = delivered(Unclosable())
    one.close()
    assert [event.kind for event in told] == ["sink_off"]


def test_a_sink_that_ends_its_thread_ends_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda told: None)

    class Leaving(Listed):
        def write(self, series: Series) -> None:
            raise SystemExit(3)

    one, _ = delivered(Leaving())
    one.write(block(0))
    one.close()
    assert one.ended(30)


def test_a_forked_child_leaves_the_sink_alone() -> None:
    sink = Listed()
    one, _ = delivered(sink)
    child = os.fork()
    if child == 0:
        one.write(block(0))
        one.close()
        os._exit(0 if one.dropped == 0 else 1)
    assert os.waitpid(child, 0)[1] == 0
    one.write(block(1))
    one.close()
    assert len(sink.taken) == 1


def test_the_limits_are_what_the_documentation_says() -> None:
    assert delivery.CLOSE_SECONDS <= 5
    bytes_a_thousand_steps = 1000 * 200 * 20 * 4
    assert pytest.approx(bytes_a_thousand_steps, rel=0.1) == delivery.QUEUE_BYTES
