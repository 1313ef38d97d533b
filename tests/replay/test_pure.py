"""Verdicts and causes from numbers alone."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.replay.branches import BRANCHES, Known, chosen
from surefoot.replay.causes import OUTSIDE, Facts, implied
from surefoot.replay.fidelity import fidelity
from surefoot.replay.judge import Harm, harm, words
from surefoot.replay.outcome import Outcome, Write, from_json, to_json
from surefoot.replay.strange import Strange, lasting, strange_losses
from surefoot.replay.window import Jump, Window
from surefoot.types import Change, Prescription

WINDOW = Window(0, 12, 20, 39, (6, 7, 8))
CALM = tuple(0.5 + 0.01 * (k % 3) for k in range(20))
STILL = Outcome("no updates", CALM + CALM, (1.0,) * 40, aside=0.5)


def outcome(*rest: float, aside: float = 0.5) -> Outcome:
    """A branch that is calm before the onset."""
    return Outcome("a branch", CALM + tuple(rest), (1.0,) * 40, aside=aside)


def word_of(branch: Outcome, unchanged: Outcome) -> str:
    return words([branch], unchanged, STILL, window=WINDOW)[0]


DIVERGED = outcome(*(0.5 * 1.6**k for k in range(20)), aside=900.0)
HEALTHY = outcome(*CALM)


def test_the_five_verdicts() -> None:
    late = outcome(*CALM[:10], *(0.5 * 1.9**k for k in range(10)), aside=300.0)
    half = outcome(*(0.5 * 1.3**k for k in range(20)), aside=60.0)
    worse = outcome(*(0.5 * 4.0**k for k in range(20)), aside=1e9)
    assert word_of(HEALTHY, DIVERGED) == "prevented"
    assert word_of(late, DIVERGED) == "delayed"
    assert word_of(DIVERGED, DIVERGED) == "no effect"
    assert word_of(worse, DIVERGED) == "worse"
    assert word_of(outcome(*(9.0,) * 20, aside=9.0), DIVERGED) == "lessened"
    assert word_of(half, HEALTHY) == "worse"
    assert word_of(HEALTHY, HEALTHY) == "no effect"


def test_a_branch_that_was_not_run_is_not_judged() -> None:
    refused = Outcome("a branch", (), refused="there is no such layer")
    ended = Outcome("a branch", (), ended="interrupted")
    assert word_of(refused, DIVERGED) == "does not apply"
    assert word_of(ended, DIVERGED) == "not finished"


def test_a_number_that_is_none_is_harm_where_no_update_makes_one() -> None:
    broken = outcome(*CALM[:5], *[math.nan] * 15, aside=math.nan)
    assert harm(broken, STILL, WINDOW).size == math.inf
    everywhere = Outcome("no updates", broken.losses, aside=math.nan)
    assert not harm(broken, everywhere, WINDOW).done


def test_what_a_batch_costs_by_itself_is_no_harm_of_the_updates() -> None:
    costly = (*CALM[:4], 50.0, *CALM[:15])
    assert not harm(
        outcome(*costly), Outcome("no updates", CALM + costly, aside=0.5), WINDOW
    ).done


def test_a_rise_that_is_over_by_the_end_is_no_harm() -> None:
    spike = (*CALM[:4], 9.0, 30.0, 8.0, 2.0, *CALM[:12])
    assert not harm(outcome(*spike), STILL, WINDOW).done
    assert word_of(HEALTHY, outcome(*spike)) == "no effect"
    lasting_rise = (*CALM[:4], *(3.0 for _ in range(16)))
    assert harm(outcome(*lasting_rise, aside=3.0), STILL, WINDOW).done


def test_an_end_that_one_measure_alone_shows_must_be_far_worse() -> None:
    assert not harm(outcome(*CALM, aside=3.0), STILL, WINDOW).done
    assert harm(outcome(*CALM, aside=6.0), STILL, WINDOW).done
    risen = CALM[:4] + (3.0,) * 16
    assert not harm(outcome(*risen), STILL, WINDOW).done
    unknown = Outcome("no updates", STILL.losses, aside=math.nan)
    assert harm(outcome(*risen), unknown, WINDOW).done


def test_the_noise_of_a_replay_is_room_for_harm() -> None:
    risen = outcome(*(0.85 for _ in range(20)), aside=0.85)
    assert harm(risen, STILL, WINDOW).done
    assert not harm(risen, STILL, WINDOW, noise=0.2).done


@given(st.lists(st.floats(allow_nan=True), min_size=40, max_size=40), st.floats())
def test_any_numbers_are_judged(losses: list[float], aside: float) -> None:
    branch = Outcome("a branch", tuple(losses), aside=aside)
    for unchanged in (DIVERGED, HEALTHY, branch):
        assert word_of(branch, unchanged) in (
            "prevented", "lessened", "delayed", "no effect", "worse"
        )  # fmt: skip
    found = harm(branch, STILL, WINDOW)
    assert (found.since is None) == (found.size == 0.0)


def test_outcomes_survive_json() -> None:
    full = Outcome("b", (math.nan, 1.0), (math.inf,), writes=(Write(3, ("net.0",)),))
    again = from_json(to_json(full))
    assert again.writes == full.writes
    assert math.isnan(again.losses[0])
    with pytest.raises(ValueError, match="losses"):
        from_json({"branch": "b", "losses": "none"})


# --- fidelity -------------------------------------------------------------------


def test_a_replay_that_departs_at_once_is_told_from_one_that_drifts() -> None:
    recorded = [1.0, 0.9, 0.8, 0.7]
    assert fidelity(recorded, [1.0, 0.9, 0.4, 0.3]).departs == 2
    drifted = fidelity(recorded, [1.0 + 1e-6, 0.9 + 1e-4, 0.8 + 5e-3, 0.7 + 5e-2])
    assert drifted.departs is None
    assert drifted.noise == pytest.approx(0.05 / 0.7)
    assert fidelity([math.nan], [math.nan]).exact
    assert fidelity([1.0, 1.0], [1.0, math.nan]).departs == 1


# --- strange batches --------------------------------------------------------------


def test_one_costly_batch_passes_and_many_last() -> None:
    costs = [*CALM, *CALM]
    costs[25] = 9.0
    assert strange_losses(costs, WINDOW) == (25,)
    assert not lasting((25,), WINDOW)
    costs[25:] = [9.0] * 15
    found = strange_losses(costs, WINDOW)
    assert found == tuple(range(25, 40))
    assert lasting(found, WINDOW)
    assert strange_losses([*CALM, *CALM], WINDOW) == ()


# --- branches ---------------------------------------------------------------------


def test_every_branch_is_one_change_or_says_why_there_is_none() -> None:
    bare = Known(WINDOW, settings={})
    full = Known(
        WINDOW,
        Strange(inputs=(21,)),
        Jump(20, 30.0),
        1.5,
        ("net.0",),
        {"eps": 1e-8, "betas": (0.9, 0.999)},
        half=True,
    )
    for branch in BRANCHES:
        made = branch.prescribe(full)
        assert not isinstance(made, str), branch.name
        assert len(made.changes) == 1
        assert made.source
        assert made.expect
    reasons = [one.prescribe(bare) for one in BRANCHES]
    assert sum(isinstance(one, str) for one in reasons) >= 8
    with pytest.raises(ValueError, match="a part of one of: skip the strange"):
        chosen("medicine")


# --- causes -----------------------------------------------------------------------


def told(worked: tuple[str, ...], **more: object) -> str:
    known = Known(WINDOW, **{k: v for k, v in more.items() if k in KNOWN})  # type: ignore[arg-type]
    facts = {"still": STILL, "unchanged": Harm(9.0, 21), "aside_before": 0.5}
    facts |= {k: v for k, v in more.items() if k not in KNOWN}
    found = implied(Facts(known=known, worked=worked, **facts))  # type: ignore[arg-type]
    return found.cause if found else ""


KNOWN = ("strange", "jump", "layers", "half")


def test_causes_follow_from_what_worked() -> None:
    assert told(("half the rate", "a tenth of the rate")) == "learning rate too high"
    assert told(("lower beta2", "half the rate")) == "stale second moment"
    assert told(("float32", "half the rate")) == "half precision overflow"
    assert told(("raise epsilon",)) == "epsilon too small"
    assert told(("re-initialise dead units",)) == "dead ReLU"
    assert told(("normalise the accused layers",)) == "missing normalisation"
    assert told(()) == "unknown"
    assert told((), unchanged=Harm(0.0, None)) == ""


def test_batches_are_asked_before_changes() -> None:
    slower = ("half the rate", "skip the strange batches")
    later = tuple(range(21, 40))
    one, many = Strange(losses=(21,)), Strange(losses=later)
    assert told(slower, strange=one) == "bad batch"
    assert told(slower[:1], strange=one) == "learning rate too high"
    assert told(slower, strange=many) == "labels changed"
    assert told(slower, strange=Strange(later, later)) == "inputs shifted"
    assert told(slower, strange=Strange(broken=(21,))) == "non-finite data"


def test_what_is_outside_of_the_updates_is_asked_first() -> None:
    wrote = Outcome("no updates", STILL.losses, writes=(Write(20, ("net.0",)),))
    assert told(("half the rate",), still=wrote) == OUTSIDE
    assert told(("half the rate",), departs=22) == OUTSIDE
    scaled = Outcome("no updates", STILL.losses, (1.0,) * 40, aside=50.0)
    assert told(("half the rate",), still=scaled) == "data changed"
    assert told(("lower beta2",), still=scaled) == "stale second moment"
    slope = Outcome("no updates", STILL.losses, (1.0,) * 30 + (math.nan,) * 10)
    assert told(("half the rate",), still=slope) == "numeric fault"
    assert told(("float32",), still=slope) == "half precision overflow"


def test_a_prescription_is_what_the_ledger_knows() -> None:
    made = chosen("half")[0].prescribe(Known(WINDOW))
    assert made == Prescription(
        "half the rate",
        (Change("lr", "scale", 0.5),),
        "the updates were too long",
        "Wortsman et al. 2023, arXiv:2309.14322",
    )
