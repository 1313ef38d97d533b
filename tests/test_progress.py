"""Progress: a run goes on, and lines that are true of it are written."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from surefoot import progress
from surefoot.progress import Progress
from surefoot.terminal.view import Manner, View
from surefoot.types import RUN, Diagnosis, Facts, Parameter, Series

LAYERS = tuple(f"layers.{i}.weight" for i in range(6))


@dataclass
class Recorder:
    """What a run knows of a stream."""

    facts: Facts = field(
        default_factory=lambda: Facts(
            parameters=tuple(
                Parameter(name, name.removesuffix(".weight"), 64, shape=(8, 8))
                for name in LAYERS
            )
        )
    )


class Drawn(View):
    """A view that keeps what it is to show."""

    def __init__(self) -> None:
        super().__init__(io.StringIO(), Manner(False, False, False))
        self.shows: list[list[str]] = []
        self.kept: list[str] = []

    def show(self, lines: Any, plain: str) -> None:
        self.shows.append([*lines, plain])

    def keep(self, text: str) -> None:
        self.kept.append(text)


def block(quantity: str, values: Any, layers: tuple[str, ...] = RUN) -> Series:
    array = np.asarray(values, np.float32)
    return Series(quantity, layers, np.arange(len(array)), array)


@pytest.fixture
def view(monkeypatch: pytest.MonkeyPatch) -> Iterator[Drawn]:
    """What was shown of a run that goes wrong in one layer."""
    monkeypatch.setattr(progress, "REDRAW_SECONDS", 0.005)
    view = Drawn()
    speaker = Progress(view, "net", {"main": Recorder()})
    speaker.write(block("weight_norm", [[1.0] * 6], LAYERS))
    speaker.write(block("update_norm", [[0.01] * 5 + [0.9]], LAYERS))
    speaker.alarm(Diagnosis("bad batch", "", "net.0", 300, 0.92, ()))
    speaker.write(block("step_seconds", [[0.02], [0.02]]))
    speaker.write(block("loss", [[2.0], [1.0], [0.5]]))
    until = len(view.shows) + 3
    while len(view.shows) < until:
        time.sleep(0.001)
    speaker.close()
    shown = len(view.shows)
    yield view
    assert len(view.shows) == shown  # nothing after it was closed


def test_the_view_tells_step_loss_and_speed(view: Drawn) -> None:
    head, loss, worst, plain = view.shows[-1]
    assert head == "step 3  loss 0.5  50 steps/s  1 alarm  net"
    assert loss.startswith("loss  █")
    assert worst.startswith("! layers.5.weight: updates 0.9 of its weights")
    assert plain.startswith("step 3  loss 0.5  50 steps/s  1 alarm")


def test_an_alarm_has_a_line_of_its_own(view: Drawn) -> None:
    assert view.kept == ["surefoot: bad batch in net.0 since step 300 (92% sure)"]


def test_nothing_is_shown_before_the_first_reading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress, "REDRAW_SECONDS", 0.001)
    view = Drawn()
    speaker = Progress(view, "net", {})
    time.sleep(0.02)
    speaker.close()
    assert view.shows == []
