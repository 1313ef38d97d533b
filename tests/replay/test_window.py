"""Which steps are replayed, where an alarm came late or a script ends early."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from replay.moments import Case
from surefoot.blackbox.incident import Micro, StepRecord
from surefoot.replay.conclude import ask
from surefoot.replay.errors import ReplayError
from surefoot.replay.outcome import Outcome
from surefoot.replay.window import REACH, Window, loss_jump, shortened, window_of
from surefoot.types import Prescription


def steps_of(losses: Sequence[float]) -> list[StepRecord]:
    micro = (Micro((torch.zeros(1),), None),)
    return [
        StepRecord(step, (loss,), {"main": (0.1,)}, 1.0, micro)
        for step, loss in enumerate(losses)
    ]


LATE = [0.01] * 60 + [0.09] + [0.01] * 39 + [1500.0] + [2.3] * 300
"""A hard batch at step 60, which does no harm, and a bad one at step 100."""


def test_a_hard_batch_is_not_taken_for_the_onset() -> None:
    assert loss_jump(steps_of(LATE)) == 100
    assert loss_jump(steps_of(LATE[:100])) == 60


def test_a_late_alarm_does_not_stretch_the_window() -> None:
    incident, _, _ = Case(first=0).recorded()
    steps = steps_of(LATE)
    late = replace(incident, onset=100, step=400, steps=tuple(steps))
    window = window_of(late, steps)
    assert (window.onset, window.last) == (100, 100 + REACH)


def test_a_shortened_window_keeps_the_onset_and_gives_up_what_was_set_aside() -> None:
    window = Window(0, 12, 20, 99, (10, 11))
    assert shortened(window, 60) == replace(window, last=57)
    assert shortened(window, 22) == replace(window, last=21, aside=())
    with pytest.raises(ReplayError, match="21 at least"):
        shortened(window, 15)


def test_a_script_that_ends_early_is_judged_on_what_it_plays() -> None:
    whole, _, _ = Case(first=0).recorded()
    incident = replace(whole, onset=30)
    asked: list[tuple[int, int]] = []

    def play(window: Window, some: Sequence[Prescription]) -> list[Outcome]:
        """A script that makes 50 updates in all, whatever it is asked for."""
        wanted = window.last - window.first + 1 + len(window.aside)
        asked.append((window.last, len(some)))
        return [one_of(window, one, short=wanted > 50) for one in some]

    def one_of(window: Window, one: Prescription, *, short: bool) -> Outcome:
        losses: Any = [sum(r.losses) for r in incident.steps[: window.last + 1]]
        ended = "it ended" if short else ""
        made = 50 if short else None
        return Outcome(one.remedy, tuple(losses[:50]), ended=ended, updates=made)

    told = ask(incident, play, branches=())
    assert [count for _, count in asked] == [2, 2, 0]
    assert asked[1][0] == told.last < 50
    assert told.result == "nothing to prevent"
