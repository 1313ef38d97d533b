"""A ring keeps states of well spread ages, within its budget."""

from __future__ import annotations

import itertools

import torch
from hypothesis import given
from hypothesis import strategies as st

from surefoot.blackbox.ring import LATENCY, Ring
from surefoot.blackbox.state import State

SIZE = 40


def state(step: int, size: int = SIZE) -> State:
    return State(step, size, {"x": torch.zeros(size // 4)}, {})


def test_what_fits_is_kept_whole() -> None:
    ring = Ring(4 * SIZE)
    assert all(ring.offer(state(step)) for step in (0, 10, 20))
    assert [one.step for one in ring.states] == [0, 10, 20]
    assert ring.nbytes == 3 * SIZE


def test_a_budget_below_one_state_keeps_none() -> None:
    ring = Ring(SIZE - 1)
    assert not ring.offer(state(0))
    assert ring.states == ()
    assert ring.newest() is None


@given(
    slots=st.integers(3, 8),
    gaps=st.lists(st.integers(1, 60), min_size=40, max_size=120),
)
def test_one_is_always_older_than_an_alarm_is_late(slots: int, gaps: list[int]) -> None:
    ring = Ring(slots * SIZE)
    step = 0
    for gap in gaps:
        step += gap
        assert ring.offer(state(step))
        ages = [step - one.step for one in ring.states]
        assert ages[-1] == 0
        assert ring.nbytes <= ring.budget_bytes
        # From the first state on, until something is older than the latency.
        first = gaps[0]
        assert ages[0] >= min(LATENCY, step - first)


def test_between_the_ends_the_gaps_grow_with_age() -> None:
    ring = Ring(6 * SIZE)
    for step in range(0, 2000, 5):
        ring.offer(state(step))
    steps = [one.step for one in ring.states]
    gaps = [later - sooner for sooner, later in itertools.pairwise(steps[1:])]
    assert gaps[0] > gaps[-1]
    assert steps[-1] - steps[-2] <= 20


def test_a_single_place_is_renewed_when_it_is_old_enough() -> None:
    ring = Ring(SIZE)
    kept = []
    for step in range(0, 400, 10):
        assert ring.has_place(step, SIZE) == (
            not ring.states or step - ring.states[0].step >= LATENCY // 2
        )
        ring.offer(state(step))
        kept.append(ring.states[0].step)
    assert set(kept) == {0, 100, 200, 300}


def test_room_is_made_before_a_state_is_taken() -> None:
    ring = Ring(3 * SIZE)
    for step in (0, 10, 20):
        ring.offer(state(step))
    gone = ring.clear_for(30, SIZE)
    assert gone is not None
    assert gone.step == 10
    assert [one.step for one in ring.states] == [0, 20]
    assert ring.offer(state(30))


def test_memory_that_is_read_is_not_given_away() -> None:
    ring = Ring(3 * SIZE)
    for step in (0, 10, 20):
        ring.offer(state(step))
    reading = ring.states[1]
    ring.hold(reading)
    assert ring.clear_for(30, SIZE) is None
    ring.offer(state(30))
    ring.release(reading)
    assert ring.clear_for(40, SIZE) is not None


def test_the_newest_from_before_an_update() -> None:
    ring = Ring(9 * SIZE)
    for step in (0, 10, 20):
        ring.offer(state(step))
    assert ring.newest() is ring.states[-1]
    assert ring.newest(before=20) is ring.states[-1]
    assert ring.newest(before=19) is ring.states[1]
    assert ring.newest(before=-1) is None
    ring.drop_after(10)
    assert [one.step for one in ring.states] == [0, 10]
    # Going back and coming again: the newer ones of before do not stay.
    ring.offer(state(5))
    assert [one.step for one in ring.states] == [0, 5]


def test_what_others_need_of_the_budget_is_theirs() -> None:
    ring = Ring(4 * SIZE)
    for step in (0, 10, 20, 30):
        ring.offer(state(step))
    assert ring.offer(state(40), beside=2 * SIZE)
    assert len(ring.states) == 2
    assert not ring.offer(state(50), beside=4 * SIZE)
