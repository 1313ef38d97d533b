"""Progress: a run goes on, and lines that are true of it are written."""

from __future__ import annotations

import re
import time
from typing import Any

import numpy as np
import pytest

from surefoot import progress
from surefoot.progress import Progress
from surefoot.types import RUN, Diagnosis, Series


class Going:
    """A run that has made a thousand steps."""

    last_step = 1000

    def __init__(self) -> None:
        values = np.asarray([[2.0], [1.0], [0.5]], np.float32)
        self.losses = {"main": Series("loss", RUN, np.arange(997, 1000), values)}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """What is written until the second line comes, and after one alarm."""
    monkeypatch.setattr(progress, "FIRST_LINE_SECONDS", 0.02)
    run: Any = Going()
    speaker = Progress(run)
    text = ""
    while text.count("\n") < 2:
        time.sleep(0.01)
        text += capsys.readouterr().err
    speaker.alarm(Diagnosis("bad batch", "", "net.0", 300, 0.92, ()))
    speaker.stop()
    return text + capsys.readouterr().err


def test_a_line_tells_step_loss_and_speed(told: str) -> None:
    line = told.splitlines()[0]
    assert line.startswith("step 1,000  loss 0.5")
    speed = re.search(r"([\d,.e+]+) steps/s", line)
    assert speed is not None
    assert float(speed[1].replace(",", "")) > 1000


def test_an_alarm_has_a_line_of_its_own(told: str) -> None:
    alarms = [line for line in told.splitlines() if line.startswith("surefoot:")]
    assert alarms == ["surefoot: bad batch in net.0 since step 300 (92% sure)"]


def test_without_a_terminal_nothing_is_drawn_over(told: str) -> None:
    assert "\r" not in told
    assert "\x1b" not in told
