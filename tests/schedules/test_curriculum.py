"""Curricula: what may be drawn at a step, exact resume, and a guard on the way."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from surefoot.schedules import (
    Constant,
    CurriculumGuard,
    CurriculumSampler,
    Linear,
    PiecewiseConstant,
    Root,
    ScheduleError,
    after_step,
)
from surefoot.types import Event

PACES = (
    Root(0.05, 1.0, steps=40),
    Linear(0.05, 1.0, steps=40),
    PiecewiseConstant((0.05, 0.3, 1.0), at=(10, 30)),
)


def sampler(**given: Any) -> CurriculumSampler:
    told: dict[str, Any] = {"batch_size": 8, "batches": 60, "seed": 3} | given
    torch.manual_seed(0)
    return CurriculumSampler(torch.rand(200), told.pop("pace", PACES[0]), **told)


def ranks() -> dict[int, int]:
    torch.manual_seed(0)
    return {
        index: rank for rank, index in enumerate(torch.rand(200).argsort().tolist())
    }


# --- the sampler -----------------------------------------------------------------


@pytest.mark.parametrize("pace", PACES, ids=lambda one: type(one).__name__)
def test_nothing_above_the_pace_is_ever_drawn(pace: Any) -> None:
    rank = ranks()
    for step, batch in enumerate(sampler(pace=pace)):
        assert max(rank[index] + 1 for index in batch) <= pace(step) * 200
    assert step == 59


@given(
    n=st.integers(1, 300),
    share=st.floats(0.01, 1.0),
    batch=st.integers(1, 16),
    seed=st.integers(0, 9),
)
def test_the_share_holds_for_any_data(
    n: int, share: float, batch: int, seed: int
) -> None:
    if share * n < 1:
        return
    made = CurriculumSampler(range(n), share, batch_size=batch, seed=seed)
    pool = made.pool(0)
    assert pool <= share * n + 1e-6
    for drawn in (made.batch(step) for step in range(5)):
        assert len(drawn) == batch
        assert max(drawn) < pool
        assert len(set(drawn)) == batch or pool < batch


def test_each_allowed_example_is_equally_likely() -> None:
    made = CurriculumSampler(range(40), 0.5, batch_size=4, seed=1)
    counts = torch.zeros(40)
    for step in range(5_000):
        counts[made.batch(step)] += 1
    assert counts[20:].sum() == 0
    expected = 5_000 * 4 / 20
    spread = math.sqrt(5_000 * 0.2 * 0.8)
    assert ((counts[:20] - expected).abs() < 4 * spread).all()


def test_in_the_end_all_examples_are_drawn() -> None:
    made = CurriculumSampler(range(50), PACES[0], batch_size=10, batches=200)
    assert {index for batch in made for index in batch} == set(range(50))


@pytest.mark.parametrize("stop", [0, 1, 17, 59])
def test_a_resumed_sampler_draws_exactly_the_rest(stop: int) -> None:
    whole = list(sampler())
    first = sampler()
    drawn = [batch for _, batch in zip(range(stop), first, strict=False)]
    again = sampler()
    again.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert len(again) == 60 - stop
    assert drawn + list(again) == whole


def test_epochs_follow_each_other_without_repeating() -> None:
    made = sampler(batches=10)
    first, second = list(made), list(made)
    assert len(first) == len(second) == 10
    assert first + second == list(sampler(batches=20))


def test_processes_draw_batches_of_their_own() -> None:
    assert list(sampler(rank=0)) != list(sampler(rank=1))
    assert list(sampler(seed=4)) != list(sampler())


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_with_workers_is_resumed_at_the_update_that_was_made(
    workers: int,
) -> None:
    data = TensorDataset(torch.arange(200))

    def run(updates: int, state: Any = None) -> tuple[list[list[int]], Any]:
        weight = torch.nn.Parameter(torch.ones(1))
        optimizer = torch.optim.SGD([weight], lr=0.1)
        made = sampler(batches=12)
        after_step(optimizer, made)
        if state is not None:
            optimizer.load_state_dict(state)
        loader = DataLoader(data, batch_sampler=made, num_workers=workers)
        seen: list[list[int]] = []
        while len(seen) < updates:
            for (batch,) in loader:
                seen.append(batch.tolist())
                optimizer.step()
                if len(seen) == updates:
                    break
        return seen, optimizer.state_dict()

    whole, _ = run(18)
    first, state = run(5)
    rest, _ = run(13, state)
    assert first + rest == whole
    assert whole == [sampler().batch(step) for step in range(18)]


def test_the_share_is_logged_with_the_updates() -> None:
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    handle = after_step(optimizer, sampler(pace=Linear(0.5, 1.0, steps=2)), name="pace")
    optimizer.step()
    assert handle.log[-1].body == {"action": "pace", "share": 0.75}


@pytest.mark.parametrize(
    ("difficulty", "given", "told"),
    [
        ([], {}, "one finite number"),
        ([[1.0]], {}, "one finite number"),
        ([1.0, math.nan], {}, "one finite number"),
        ([1.0, 2.0], {"batch_size": 0}, "1 or more"),
        ([1.0, 2.0], {"batches": 0}, "1 or more"),
        ([1.0, 2.0], {"pace": 0.1}, "1 at least"),
        ([1.0, 2.0], {"pace": 1.5}, "not above 1"),
    ],
)
def test_what_cannot_be_drawn_from_is_refused(
    difficulty: Any, given: dict[str, Any], told: str
) -> None:
    given = {"batch_size": 1, "pace": 1.0} | given
    with pytest.raises(ScheduleError, match=told):
        CurriculumSampler(difficulty, given.pop("pace"), **given)


def test_a_pace_that_dries_up_is_told_with_its_step() -> None:
    made = CurriculumSampler(range(10), Linear(1.0, 0.0, steps=4), batch_size=2)
    with pytest.raises(ScheduleError, match="at step 4"):
        made.batch(4)


# --- the guard -------------------------------------------------------------------


def steady(count: int, spread: float = 0.1) -> list[float]:
    return [1.0 + spread * (-1) ** i for i in range(count)]


def stages(guard: CurriculumGuard, norms: list[float]) -> list[float]:
    return [guard.update(grad_norm=norm) for norm in norms]


def test_no_advance_while_the_spread_is_above_the_limit() -> None:
    guard = CurriculumGuard([1, 2, 3], window=10, limit=0.3)
    assert set(stages(guard, steady(200, spread=0.4))) == {1}
    assert not guard.log


def test_steady_norms_advance_once_a_window_up_to_the_last_stage() -> None:
    guard = CurriculumGuard([1, 2, 3], window=10, limit=0.3)
    assert stages(guard, steady(40)) == [1] * 9 + [2] * 10 + [3] * 21


def test_one_spike_is_one_retreat() -> None:
    guard = CurriculumGuard([1, 2, 3], window=10)
    stages(guard, steady(20))
    assert guard.level == 3
    assert stages(guard, [1.0, 1.0, 50.0, *steady(9)]) == [3, 3, *[2] * 10]
    assert stages(guard, steady(1)) == [3]
    moves = [(e.body["before"], e.body["after"]) for e in guard.log]
    assert moves == [(1, 2), (2, 3), (3, 2), (2, 3)]


def test_a_norm_that_is_not_finite_is_a_spike_and_the_first_stage_stays() -> None:
    guard = CurriculumGuard([1, 2], window=5)
    assert stages(guard, [1.0, math.nan, math.inf]) == [1, 1, 1]
    stages(guard, steady(5))
    assert guard.update(grad_norm=math.nan) == 1
    assert guard.log[-1].body["why"] == "grad_norm is nan"


def test_all_signals_must_be_steady() -> None:
    guard = CurriculumGuard([1, 2], window=10)
    for norm, sharpness in zip(steady(50), steady(50, spread=0.5), strict=True):
        guard.update(grad_norm=norm, sharpness=sharpness)
    assert guard.level == 1
    for norm in steady(10):
        guard.update(grad_norm=norm, sharpness=norm)
    assert guard.level == 2
    assert "sharpness" in guard.log[-1].body["why"]


def test_a_resumed_guard_moves_as_an_unbroken_one() -> None:
    norms = [*steady(25), 50.0, *steady(30)]
    whole = stages(CurriculumGuard([1, 2, 3], window=10), norms)
    for stop in (1, 13, 26, 40):
        first = CurriculumGuard([1, 2, 3], window=10)
        stages(first, norms[:stop])
        again = CurriculumGuard([1, 2, 3], window=10)
        again.load_state_dict(json.loads(json.dumps(first.state_dict())))
        assert stages(again, norms[stop:]) == whole[stop:]


def test_each_move_is_told() -> None:
    heard: list[Event] = []
    guard = CurriculumGuard([16, 32], window=2, tell=heard.append)
    stages(guard, [1.0, 1.0])
    assert heard[0].kind == "curriculum"
    assert heard[0].body["why"] == "steady over 2 steps: spread grad_norm 0"


def test_the_norms_of_a_small_classifier_are_within_the_limit() -> None:
    """What the default limit was chosen on: a net on separable data at batch 64."""
    spreads = []
    for seed in range(3):
        torch.manual_seed(seed)
        model = torch.nn.Sequential(
            torch.nn.Linear(16, 64), torch.nn.ReLU(), torch.nn.Linear(64, 4)
        )
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        truth = torch.randn(16, 4)
        norms = []
        for _ in range(150):
            x = torch.randn(64, 16)
            y = (x @ truth).argmax(1)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            grads = [w.grad for w in model.parameters() if w.grad is not None]
            norms.append(float(torch.nn.utils.get_total_norm(grads)))
            optimizer.step()
        for start in range(0, 120, 31):
            part = torch.tensor(norms[start : start + 31])
            spreads.append(float(part.std(correction=0) / part.mean()))
    assert min(spreads) > 0.05
    assert max(spreads) < 0.15


@pytest.mark.parametrize(
    "given", [{"levels": []}, {"window": 1}, {"limit": 0}, {"spike": 1.0}]
)
def test_an_impossible_guard_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ScheduleError, match="expected a level at least"):
        CurriculumGuard(given.pop("levels", [1]), **given)


def test_other_signals_on_the_way_are_refused() -> None:
    guard = CurriculumGuard([1, 2])
    with pytest.raises(ScheduleError, match="one at least"):
        guard.update()
    guard.update(grad_norm=1.0)
    with pytest.raises(ScheduleError, match=r"expected \['grad_norm'\]"):
        guard.update(sharpness=1.0)
    assert guard.step == 1
    with pytest.raises(ScheduleError, match="stage 7"):
        guard.load_state_dict({"stage": 7, "step": 1, "seen": {}})
    assert guard.stage == 0
    assert Constant(guard.level)(0) == 1
