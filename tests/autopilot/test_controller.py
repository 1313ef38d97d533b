"""What the controller decides, from numbers alone."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable
from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surefoot.autopilot.controller import decide, limits_for
from surefoot.autopilot.flight import Decision, Rules, State
from surefoot.autopilot.modes import rules_of
from surefoot.autopilot.policy import Policy
from surefoot.autopilot.raising import Climb, Raising, climbed, fallen
from surefoot.autopilot.signal import Signal

STEER, GUARD = rules_of(Policy(mode="steer")), rules_of(Policy(mode="guard"))

anything = st.floats(allow_nan=True, allow_infinity=True, width=64)
signals = st.lists(
    st.builds(
        Signal,
        step=st.just(0),
        norm=st.one_of(st.floats(0, 1e3), anything.map(abs)),
        loss=st.one_of(st.none(), st.floats(0, 10), anything),
        noise=st.one_of(st.none(), st.floats(0, 3)),
        cosine=st.one_of(st.none(), st.floats(-1, 1), st.just(math.nan)),
        fade=st.floats(0, 1),
    ),
    max_size=80,
)


def flown(
    seen: Iterable[Signal], rules: Rules = STEER, state: State | None = None
) -> tuple[State, list[Decision]]:
    """The last state, and all decisions, of a run with these signals."""
    state, decisions = state or State(), list[Decision]()
    for step, signal in enumerate(seen):
        now = replace(signal, step=step, limits=limits_for(state, rules))
        state, decision = decide(state, now, rules)
        decisions.append(decision)
    return state, decisions


def calm(count: int, loss: float = 2.0, **more: float) -> list[Signal]:
    """Signals of a healthy run whose loss falls slowly."""
    return [
        Signal(0, norm=1.0 + 0.1 * (i % 3), loss=loss * 0.995**i, **more)  # type: ignore[arg-type]
        for i in range(count)
    ]


def actions(decisions: list[Decision]) -> list[str]:
    return [one.action for one in decisions if one.action != "go"]


# --- whatever comes ---


@settings(max_examples=150, deadline=None)
@given(signals, st.sampled_from([STEER, GUARD]))
def test_all_that_goes_out_is_finite_and_the_same_again(
    seen: list[Signal], rules: Rules
) -> None:
    state, decisions = flown(seen, rules)
    assert math.isfinite(state.factor)
    assert 0 < state.factor <= Raising().most
    text = json.dumps([asdict(state), [asdict(d) for d in decisions]], allow_nan=False)
    again = flown(seen, rules)
    assert text == json.dumps([asdict(again[0]), [asdict(d) for d in again[1]]])


@settings(max_examples=150, deadline=None)
@given(signals)
def test_what_is_put_back_was_kept(seen: list[Signal]) -> None:
    state = State()
    there = set[int]()
    for step, signal in enumerate(seen):
        now = replace(signal, step=step, limits=limits_for(state, STEER))
        state, decision = decide(state, now, STEER)
        if decision.keep:
            there.add(step)
        if decision.restore is not None:
            assert decision.restore in there
        assert set(state.held) <= there
        there &= set(state.held)
        assert len(there) <= STEER.divergence.held + 2


@settings(max_examples=100, deadline=None)
@given(signals)
def test_a_bad_gradient_never_gets_through(seen: list[Signal]) -> None:
    _, decisions = flown(seen)
    for signal, decision in zip(seen, decisions, strict=True):
        if not math.isfinite(signal.norm):
            assert decision.action != "go"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1, 1), max_size=60), st.floats(1, 50))
def test_the_rate_never_rises_above_its_ceiling(
    cosines: list[float], factor: float
) -> None:
    climb = fallen(Climb(factor=factor), 0, Raising())
    first = max(1.0, factor / 2)
    for step, cosine in enumerate(cosines):
        climb = climbed(climb, 30 + step, cosine, rule=Raising())
        assert climb.ceiling is not None
        assert 1.0 <= climb.factor <= climb.ceiling
        assert climb.ceiling <= first * 2 ** ((8 + step) // Raising().patience)


# --- healthy ---


def test_a_healthy_run_is_left_alone() -> None:
    state, decisions = flown(calm(300, noise=1.0, cosine=0.02))
    assert actions(decisions) == []
    assert (state.factor, state.quiet, state.spent) == (1.0, "", 0)
    assert [one.step for one in state.kept] == [0, 240, 260, 280]


# --- spikes ---


def test_an_outlier_is_skipped_and_forgotten() -> None:
    spike = Signal(0, norm=20.0, loss=2.0)
    state, decisions = flown([*calm(20), spike, *calm(20, loss=1.9)])
    assert actions(decisions) == ["skip"]
    assert max(state.norms) < 2
    assert state.row == 0
    assert decisions[20].facts["grad_norm"] == 20.0


def test_a_long_gradient_is_clipped_in_steer_only() -> None:
    state, _ = flown(calm(20))
    assert limits_for(state, STEER).clips(3.0)
    assert not limits_for(state, STEER).skips(3.0)
    state, _ = flown(calm(20), GUARD)
    assert not limits_for(state, GUARD).clips(1e6)
    assert limits_for(state, GUARD).skips(math.inf)


def test_outliers_without_end_become_the_rule() -> None:
    high = [Signal(0, norm=20.0, loss=1.8) for _ in range(100)]
    state, decisions = flown([*calm(20), *high])
    assert actions(decisions)[:3] == ["skip"] * 3
    assert state.row == 0
    assert min(state.norms) > 2
    assert "restore" not in actions(decisions)


# --- divergence ---


def test_divergence_goes_back_with_a_lower_rate() -> None:
    up = [Signal(0, norm=1.0, loss=2.0 + i) for i in range(4)]
    state, decisions = flown([*calm(50), *up])
    back = [one for one in decisions if one.action == "restore"]
    assert [one.restore for one in back[:1]] == [40]
    assert state.rate == STEER.divergence.back
    assert "diverges" in back[0].why
    assert state.climb.ceiling == Raising().regrow


def test_a_second_alarm_soon_goes_further_back() -> None:
    up = [Signal(0, norm=1.0, loss=5.5)]
    state, decisions = flown([*calm(70), *up, *calm(3, loss=1.45), *up])
    assert [one.restore for one in decisions if one.restore is not None] == [60, 40]
    rule = STEER.divergence
    assert state.rate == pytest.approx(rule.back * rule.back_soon)


def test_the_loss_trend_goes_back_with_the_weights() -> None:
    up = [Signal(0, norm=1.0, loss=5.0)]
    state, decisions = flown([*calm(50), *up, *calm(30, loss=1.7)])
    assert actions(decisions) == ["restore"]
    assert state.trend is not None
    assert state.trend.least > 1.4


def test_what_is_bad_on_good_weights_is_not_answered_by_going_back() -> None:
    bad = [Signal(0, norm=math.nan, loss=math.nan) for _ in range(60)]
    state, decisions = flown([*calm(50), *bad])
    found = actions(decisions)
    assert found.count("restore") == 1
    assert "not in the weights" in state.quiet
    assert found == ["skip"] * 3 + ["restore"] + ["skip"] * 56


def test_a_run_that_is_bad_from_the_first_update() -> None:
    state, decisions = flown([Signal(0, norm=math.nan, loss=math.nan)] * 30)
    assert actions(decisions) == ["skip"] * 30
    assert "not in the weights" in state.quiet


def test_no_more_than_the_budget() -> None:
    rules = rules_of(Policy(mode="steer", interventions=2))
    up, more = [Signal(0, norm=1.0, loss=5.0)], calm(30, loss=1.7)
    state, decisions = flown([*calm(50), *up, *more, *up, *more, *up], rules)
    assert actions(decisions).count("restore") == 2
    assert state.quiet == "all 2 interventions are spent"


# --- frozen moments ---


def frozen_run(after: float) -> list[Signal]:
    """Moments freeze at step 30; the loss after the remedy is as given."""
    before = [replace(one, noise=1.0) for one in calm(30)]
    stuck = [Signal(0, norm=1.0, loss=1.75, noise=0.1) for _ in range(12)]
    return [*before, *stuck, *[Signal(0, norm=1.0, loss=after, noise=1.0)] * 60]


def test_frozen_moments_go_back_and_are_capped() -> None:
    state, decisions = flown(frozen_run(after=1.0))
    [back] = [one for one in decisions if one.action == "restore"]
    assert back.restore == 0  # nothing before an early alarm is known to be sound
    assert back.keep
    assert state.moments.cap == 0.02
    assert state.trial is None


def test_a_remedy_that_did_not_help_is_undone() -> None:
    state, decisions = flown(frozen_run(after=1.8))
    found = [(one.action, one.restore) for one in decisions if one.action != "go"]
    assert [action for action, _ in found] == ["restore", "undo"], found
    undone_to = found[1][1]
    assert undone_to == decisions.index(
        next(one for one in decisions if one.action == "restore")
    )
    assert state.moments.cap is None
    assert state.moments.off


def test_late_in_a_schedule_it_is_not_armed() -> None:
    late = [replace(one, fade=0.5) for one in frozen_run(after=1.0)]
    assert actions(flown(late)[1]) == []


# --- raising ---


def test_a_rate_far_too_low_is_raised_until_the_gradient_turns() -> None:
    state, _ = flown(calm(60, noise=1.0, cosine=0.5))
    assert state.factor > 10
    lower = calm(200, loss=1.4, noise=1.0, cosine=-0.2)
    state, _ = flown(lower, state=replace(state, climb=replace(state.climb, at=0)))
    assert (state.factor, state.spent) == (1.0, 0)


def test_an_alarm_takes_most_of_a_raise_for_good() -> None:
    state, _ = flown(calm(60, noise=1.0, cosine=0.3))
    before = state.climb.factor
    state, _ = flown([Signal(0, norm=1.0, loss=5.0)], state=state)
    assert state.rate == pytest.approx(before * STEER.divergence.back)
    assert state.climb.ceiling == Raising().regrow
    assert state.factor == pytest.approx(0.1 * state.rate)
    state, _ = flown(calm(40, loss=1.4, noise=1.0, cosine=0.5), state=state)
    assert state.warmth == 1.0
    assert state.factor < before


def test_losses_that_work_against_each_other_are_no_alarm() -> None:
    up = [Signal(0, norm=1.0, loss=2.0 + i) for i in range(60)]
    for mode in ("guard", "steer"):
        rules = rules_of(Policy(mode=mode), optimizers=2)  # type: ignore[arg-type]
        state, decisions = flown([*calm(50), *up], rules)
        assert actions(decisions) == []
        assert len(state.kept) == 4


# --- faults that are not in the weights ---


def test_gradients_that_add_up_are_not_answered_by_going_back_again() -> None:
    up = [Signal(0, norm=30.0 + 5 * i, loss=6.0) for i in range(40)]
    state, decisions = flown([*calm(50), *up])
    assert actions(decisions).count("restore") == 1
    assert "are gradients set to zero?" in state.quiet
    assert state.factor == 1.0  # the lower rate is taken back, as it cannot help


def test_a_gradient_that_nobody_clears_is_said_and_not_answered() -> None:
    pile = [
        replace(one, piled=True, norm=3.0 * i + 3) for i, one in enumerate(calm(60))
    ]
    for rules in (GUARD, STEER):
        state, decisions = flown(pile, rules)
        assert actions(decisions) == []
        assert "is zero_grad() missing?" in state.quiet
        assert state.factor == 1.0


def test_one_gradient_like_the_last_is_no_pile() -> None:
    some = [replace(one, piled=i % 3 != 0) for i, one in enumerate(calm(60))]
    assert flown(some)[0].quiet == ""


@pytest.mark.parametrize("rules", [GUARD, STEER])
def test_what_is_high_from_the_first_update_on_is_not_the_weights(
    rules: Rules,
) -> None:
    """As where data or loss change: it stays so on the weights of a good state."""
    steady = [Signal(0, norm=1.0, loss=30.0) for _ in range(200)]
    state, decisions = flown([*calm(100), *steady], rules)
    assert actions(decisions).count("restore") == 1
    assert "not in the weights" in state.quiet
    assert state.factor == 1.0


# --- guard: who is left alone, and who is not ---


def spread_losses(count: int, first: float) -> list[Signal]:
    """Losses that differ by a factor of a hundred from batch to batch."""
    draw = random.Random(0)
    losses = [math.exp(draw.gauss(-4.0, 1.5)) for _ in range(count)]
    return [Signal(0, norm=1.0, loss=one) for one in (first, *losses)]


@pytest.mark.parametrize("first", [0.0, 1e-4])
def test_guard_leaves_a_run_alone_whose_first_loss_was_small_by_chance(
    first: float,
) -> None:
    state, decisions = flown(spread_losses(600, first), GUARD)
    assert actions(decisions) == []
    assert state.trend is not None
    assert state.trend.least < 0.02 < state.trend.level


def test_guard_leaves_negative_losses_and_warm_restarts_alone() -> None:
    falling = [Signal(0, norm=1.0, loss=-1.0 - 0.1 * i) for i in range(200)]
    restarts = [Signal(0, norm=1.0, loss=2.3 - 2 * (i % 80) / 80) for i in range(400)]
    few_hard = [
        Signal(0, norm=1.0, loss=9.0 if i % 8 == 0 else 0.01) for i in range(99)
    ]
    for healthy in (falling, restarts, [*calm(50), *few_hard]):
        assert actions(flown(healthy, GUARD)[1]) == []


@pytest.mark.parametrize("growth", [1.05, 1.3])
def test_guard_goes_back_when_the_loss_grows_without_end(growth: float) -> None:
    up = [Signal(0, norm=1.0, loss=1.6 * growth**i) for i in range(300)]
    _, decisions = flown([*calm(60), *up], GUARD)
    back = next(one for one in decisions if one.action == "restore")
    assert back.restore is not None
    assert back.restore < 120
    assert "diverges" in back.why


def test_guard_goes_back_when_three_updates_in_a_row_are_not_finite() -> None:
    bad = [Signal(0, norm=math.inf, loss=math.inf)] * 4
    _, decisions = flown([*calm(60), *bad], GUARD)
    assert actions(decisions) == ["skip"] * 3 + ["restore"]


def test_states_are_kept_further_apart_as_a_run_goes_on() -> None:
    state, _ = flown(calm(1200, noise=1.0))
    assert [one.step for one in state.kept] == [0, 1045, 1099, 1156]
