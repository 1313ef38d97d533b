"""States are as frequent as the share allows."""

from __future__ import annotations

import pytest
import torch

from surefoot.blackbox.options import BlackBoxOptions
from surefoot.blackbox.spacing import EVERY, Spacing
from surefoot.blackbox.state import State
from surefoot.probes.meter import Meter

STATE = State(0, 1000, {"x": torch.zeros(250)}, {})


class Known(Meter):
    """A meter that tells what it is told."""

    __slots__ = ()

    def __init__(self, step: float, own: float = 0.0) -> None:
        super().__init__()
        self.step_seconds, self.own_seconds = step, own


def spacing(
    *, step: float, cost: float, own: float = 0.0, percent: float | None = 1.0
) -> Spacing:
    found = Spacing(Known(step, cost + own), percent)
    assert found.due(0)
    found.spent(0, cost, STATE)
    found.weighed(STATE.nbytes)
    found.step()
    return found


def test_the_mean_cost_stays_within_the_share() -> None:
    found = spacing(step=0.1, cost=0.4)
    assert found.interval() == pytest.approx(0.4 / (0.008 * 0.1))
    assert not found.due(499)
    assert found.due(501)


def test_cheap_states_come_at_every_tenth_update() -> None:
    assert spacing(step=1.0, cost=0.001).interval() == EVERY


def test_a_state_that_has_grown_is_paid_for_as_such() -> None:
    found = spacing(step=0.1, cost=0.1)
    small = found.interval()
    found.weighed(3 * STATE.nbytes)
    assert found.interval() == pytest.approx(3 * small, abs=2)


def test_what_logging_takes_is_not_there_for_states() -> None:
    alone = spacing(step=0.1, cost=0.4)
    # By then half of the share went into the log, beside what the state cost.
    beside = spacing(step=0.1, cost=0.4, own=0.0004)
    assert beside.interval() == pytest.approx(2 * alone.interval(), abs=2)
    # Some states come even where the log takes all.
    crowded = spacing(step=0.1, cost=0.4, own=0.01)
    assert crowded.interval() == pytest.approx(4 * alone.interval(), abs=5)


def test_without_a_share_and_after_a_restart() -> None:
    found = spacing(step=1e-6, cost=9.0, percent=None)
    assert found.interval() == EVERY
    assert not found.due(5)
    found.restart()
    assert found.due(5)


def test_a_share_that_is_none_is_refused() -> None:
    for percent in (0, -1, "much"):
        with pytest.raises(ValueError, match="percent of the black box came as"):
            BlackBoxOptions(percent=percent)  # type: ignore[arg-type]
