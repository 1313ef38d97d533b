"""`surefoot watch-live`: a record that somebody else writes is shown until it ends."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from sessions import Session
from surefoot.cli import app
from surefoot.record.reader import RecordReader
from surefoot.record.writer import RecordWriter
from surefoot.report.live import Live
from surefoot.terminal.follow import caught_up, follow, watch_live
from surefoot.types import RUN, Event, Series

STEPS = 400


class Story:
    """A run that is recorded bit by bit: 50 steps each time it goes on."""

    def __init__(self, folder: Path, *, broken: bool = False) -> None:
        self.path = folder / "net-20260101-000000-0000.surefoot"
        parameter = {"name": "fc.weight", "module": "fc", "size": 10}
        facts = {"stream": "main", "model": "Net", "parameters": [parameter]}
        self.writer = RecordWriter(self.path, {"streams": {"main": facts}})
        self.step = 0
        self.broken = broken
        self.loss = 2.3 * np.exp(-np.arange(STEPS) / 50) + 0.1
        if broken:
            self.loss[120:] = np.nan

    def go_on(self, seconds: float = 0.0) -> None:
        """Record 50 more steps; after the last, that the run has ended."""
        steps = np.arange(self.step, self.step + 50)
        self.step += 50
        rows = self.loss[steps].astype(np.float32)[:, None]
        self.writer.append(Series("loss", RUN, steps, rows))
        self.writer.append(
            Series("grad_norm", ("fc.weight",), steps, np.full_like(rows, 0.5))
        )
        self.writer.append(Series("lr", ("group0",), steps, np.full_like(rows, 0.1)))
        if self.broken and self.step == 150:
            cause = {"cause": "numeric fault", "layer": "fc", "confidence": 0.9}
            body = {"module": "fc", "operation": "log", "certain": True}
            self.writer.event(Event(120, "nonfinite", body))
            self.writer.event(Event(120, "finding", cause))
        if self.step == STEPS:
            self.writer.event(Event(STEPS, "end", {"status": "finished"}))
        assert self.writer.flush(30)

    def close(self) -> None:
        self.writer.close()


@pytest.fixture
def story(tmp_path: Path) -> Any:
    one = Story(tmp_path)
    yield one
    one.close()


def test_each_look_tells_what_is_new_and_the_end_ends_it(story: Story) -> None:
    story.go_on()
    told: list[tuple[int, str]] = []
    live = follow(
        story.path,
        lambda live, standing, status: told.append((live.step, status)),
        wait=story.go_on,
    )
    assert [step for step, _ in told] == list(range(49, STEPS, 50))
    assert {status for _, status in told[:-1]} == {"running"}
    assert told[-1] == (STEPS - 1, "finished")
    assert live.courses["main"].loss == pytest.approx(story.loss[-1])


def test_what_is_caught_up_in_parts_is_what_is_read_at_once(story: Story) -> None:
    parts = Live("net")
    for _ in range(STEPS // 50):
        story.go_on()
        with RecordReader(story.path) as reader:
            parts = caught_up(parts, reader)
            again = caught_up(parts, reader)
    with RecordReader(story.path) as reader:
        whole = caught_up(Live("net"), reader)
    for live in (parts, again):
        one, other = live.courses["main"].trail, whole.courses["main"].trail
        assert one is not None
        assert other is not None
        assert one.width == other.width
        np.testing.assert_array_equal(one.high, other.high)
        assert live.courses["main"].newest["lr"][1] == np.float32(0.1)


def test_without_a_terminal_lines_are_plain(tmp_path: Path) -> None:
    story = Story(tmp_path, broken=True)
    while story.step < STEPS:
        story.go_on()
    story.close()
    stream = io.StringIO()
    found = watch_live(story.path, stream, as_json=False)
    lines = stream.getvalue().splitlines()
    assert found
    assert lines[0] == "surefoot: numeric fault in fc since step 120 (90% sure)"
    assert lines[1].startswith("step 400  loss nan  lr 0.1")
    assert lines[2] == "finished after 400 steps:"
    assert "since step 120" in lines[3]
    assert not {"\x1b", "\r"} & set(stream.getvalue())


def test_json_comes_one_object_a_line(tmp_path: Path) -> None:
    story = Story(tmp_path, broken=True)
    while story.step < STEPS:
        story.go_on()
    story.close()
    stream = io.StringIO()
    watch_live(story.path, stream, as_json=True)
    first, last = (
        json.loads(line, parse_constant=pytest.fail)
        for line in stream.getvalue().splitlines()
    )
    assert (first["steps"], first["status"]) == (400, "finished")
    assert first["streams"]["main"]["loss"] is None
    assert first["streams"]["main"]["lr"] == {"group0": 0.1}
    assert first["alarms"] == ["numeric fault in fc since step 120 (90% sure)"]
    assert last["found"][0]["onset"] == 120


@pytest.mark.parametrize("broken", [False, True])
def test_the_status_says_whether_something_is_wrong(
    broken: bool, tmp_path: Path
) -> None:
    story = Story(tmp_path, broken=broken)
    while story.step < STEPS:
        story.go_on()
    story.close()
    for flags in ([], ["--json"]):
        command = ["watch-live", "--folder", str(tmp_path), *flags]
        done = CliRunner().invoke(app, command)
        assert done.exit_code == int(broken), done.output
    assert CliRunner().invoke(app, ["watch-live", "absent"]).exit_code == 2


def command(folder: Path, *flags: str) -> list[str]:
    return [sys.executable, "-m", "surefoot", "watch-live", "--folder", str(folder),
            *flags]  # fmt: skip


def test_a_run_of_another_process_is_redrawn_until_it_ends(tmp_path: Path) -> None:
    story = Story(tmp_path, broken=True)
    story.go_on()
    with Session(command(tmp_path), tmp_path) as one:
        one.until(lambda screen: "step 50 " in screen.text)
        story.go_on()
        one.until(lambda screen: "step 100 " in screen.text)
        assert "step 50 " not in one.screen.text
        story.go_on()
        one.until(lambda screen: "surefoot: numeric fault in fc" in screen.text)
        one.until(lambda screen: "step 150 " in screen.text and "×" in screen.text)
        one.resize(30, 10)
        while story.step < STEPS:
            story.go_on()
        screen = one.done()
    story.close()
    assert one.process.returncode == 1
    assert screen.text.count("surefoot: numeric fault in fc") == 1
    assert screen.text.count("step 400 ") == 1
    assert "finished after 400 steps:" in screen.text
    assert not screen.unknown


def test_ctrl_c_ends_it_with_a_clean_terminal(story: Story, tmp_path: Path) -> None:
    story.go_on()
    with Session(command(tmp_path), tmp_path) as one:
        one.until(lambda screen: "step 50 " in screen.text)
        one.interrupt()
        screen = one.done()
    assert one.process.returncode == 130
    assert screen.text in ("", "^C")


def test_a_reader_that_went_away_is_no_disaster(story: Story, tmp_path: Path) -> None:
    """As in `surefoot watch-live --json | head -1`."""
    story.go_on()
    with subprocess.Popen(
        command(tmp_path, "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["steps"] == 50
        process.stdout.close()
        while process.poll() is None and story.step < STEPS:
            story.go_on()
            time.sleep(0.05)
        assert "Traceback" not in process.stderr.read()
