"""Three numbers of a schedule's roughness; what each is blind to."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

from surefoot.schedules import (
    Cosine,
    Linear,
    PiecewiseConstant,
    Repeated,
    ScheduledLR,
    ScheduleError,
    Smoothed,
    Tabulated,
    recorded,
    schedule_roughness,
    smooth_schedule,
    warm_up,
)

PEAK, T = 0.1, 1_000
COSINE = Cosine(PEAK, 0.0, steps=T)
DROP = PiecewiseConstant((PEAK, 0.0), at=(T // 2,))


def adam() -> torch.optim.Adam:
    weights = [torch.nn.Parameter(torch.randn(3)) for _ in range(2)]
    return torch.optim.Adam([{"params": [w]} for w in weights], lr=PEAK)


def test_total_variation_cannot_tell_a_cosine_from_a_drop() -> None:
    for schedule in (COSINE, DROP, smooth_schedule(DROP, 50)):
        found = schedule_roughness(schedule, T)
        assert found.total_variation == pytest.approx(PEAK, rel=1e-12)
        assert found.monotone
        assert "blind to the shape" in str(found)


def test_the_sum_of_squares_can() -> None:
    cosine = schedule_roughness(COSINE, T).sum_of_squares
    assert cosine == pytest.approx(1.234e-5, rel=5e-4)
    assert cosine == pytest.approx(math.pi**2 * PEAK**2 / (8 * T), rel=1e-5)
    assert schedule_roughness(DROP, T).sum_of_squares == pytest.approx(1.0e-2)


def test_a_moving_average_of_width_w_divides_the_square_of_a_jump_by_w() -> None:
    for width in (1, 2, 50):
        found = schedule_roughness(smooth_schedule(DROP, width), T)
        assert found.sum_of_squares == pytest.approx(PEAK**2 / width, rel=1e-9)
        assert found.total_variation == pytest.approx(PEAK, rel=1e-12)
    assert schedule_roughness(
        smooth_schedule(DROP, 50), T
    ).sum_of_squares == pytest.approx(2.0e-4)


def test_warm_up_and_cosine_vary_by_twice_the_peak() -> None:
    found = schedule_roughness(warm_up(COSINE, 100), 100 + T)
    assert found.total_variation == pytest.approx(2 * PEAK)
    assert not found.monotone
    assert "blind" not in str(found)


def test_a_square_wave_of_ten_cycles_varies_by_twenty_jumps() -> None:
    cycle = PiecewiseConstant((0.0, PEAK), at=(50,))
    found = schedule_roughness(Repeated(cycle, period=T / 10), T)
    assert found.total_variation == pytest.approx(2.0)


def test_the_largest_log_jump_is_that_of_neighbours_above_zero() -> None:
    stairs = PiecewiseConstant((0.1, 0.01, 0.005), at=(10, 20))
    assert schedule_roughness(stairs, 30).largest_log_jump == pytest.approx(
        math.log(10)
    )
    assert schedule_roughness([0.0, 0.1, 0.2]).largest_log_jump == pytest.approx(
        math.log(2)
    )
    assert schedule_roughness([0.0, 0.1]).largest_log_jump == 0.0


@given(
    values=st.lists(st.floats(-10, 10), min_size=2, max_size=50),
    width=st.integers(1, 10),
)
def test_smoothing_never_makes_a_schedule_rougher(
    values: list[float], width: int
) -> None:
    steps = len(values) + width
    table = Tabulated(tuple(values))
    before = schedule_roughness(table, steps)
    after = schedule_roughness(Smoothed(table, width), steps)
    assert after.total_variation <= before.total_variation + 1e-9
    assert after.sum_of_squares <= before.sum_of_squares + 1e-9


def test_a_list_is_taken_as_it_is() -> None:
    values = COSINE.values(T + 1)
    assert schedule_roughness(values) == schedule_roughness(COSINE, T)
    assert schedule_roughness(values, 10) == schedule_roughness(COSINE, 10)


# --- torch's schedulers ----------------------------------------------------------


def _made(kind: str, optimizer: torch.optim.Optimizer) -> LRScheduler:
    half = lambda step: 0.5**step  # noqa: E731
    return {
        "cosine": lambda: CosineAnnealingLR(optimizer, 30),
        "step": lambda: StepLR(optimizer, 10),
        "lambda": lambda: LambdaLR(optimizer, half),
        "one cycle": lambda: OneCycleLR(optimizer, 1.0, total_steps=30),
        "chained": lambda: ChainedScheduler(
            [ConstantLR(optimizer, 0.1, 4), ExponentialLR(optimizer, 0.9)]
        ),
        "sequential": lambda: SequentialLR(
            optimizer,
            [LinearLR(optimizer, 0.1, total_iters=5), ExponentialLR(optimizer, 0.9)],
            [5],
        ),
        "ours": lambda: ScheduledLR(optimizer, Linear(1.0, 0.0, steps=20)),
    }[kind]()


KINDS = ("cosine", "step", "lambda", "one cycle", "chained", "sequential", "ours")


@pytest.mark.filterwarnings("ignore:The epoch parameter")
@pytest.mark.parametrize("kind", KINDS)
def test_the_rates_that_torch_is_about_to_give_are_foreseen(kind: str) -> None:
    optimizer = adam()
    scheduler = _made(kind, optimizer)
    for _ in range(3):
        optimizer.step()
        scheduler.step()
    before = _state(optimizer, scheduler)
    foreseen = recorded(scheduler, 20, group=1).table
    assert _state(optimizer, scheduler) == before
    seen = []
    for _ in range(20):
        seen.append(optimizer.param_groups[1]["lr"])
        optimizer.step()
        scheduler.step()
    assert list(foreseen) == seen


def _state(optimizer: torch.optim.Optimizer, scheduler: LRScheduler) -> str:
    weights = [w.tolist() for g in optimizer.param_groups for w in g["params"]]
    told = scheduler.state_dict()
    told = {key: value for key, value in told.items() if key != "_schedulers"}
    return repr((weights, optimizer.state_dict(), scheduler.get_last_lr(), told))


def test_the_roughness_of_a_torch_scheduler_is_that_of_its_rates() -> None:
    theirs = schedule_roughness(CosineAnnealingLR(adam(), T), T)
    ours = schedule_roughness(COSINE, T)
    assert theirs.total_variation == pytest.approx(ours.total_variation, rel=1e-6)
    assert theirs.sum_of_squares == pytest.approx(ours.sum_of_squares, rel=1e-6)


def test_what_has_no_roughness_is_refused() -> None:
    with pytest.raises(ScheduleError, match="without steps"):
        schedule_roughness(COSINE)
    with pytest.raises(ScheduleError, match="two"):
        schedule_roughness([0.1])
    with pytest.raises(ScheduleError, match="finite"):
        schedule_roughness([0.1, math.nan])
    with pytest.raises(ScheduleError, match="depend on the step alone"):
        recorded(ReduceLROnPlateau(adam()), 3)
    with pytest.raises(ScheduleError, match="ended after 11 of 20"):
        recorded(OneCycleLR(adam(), 1.0, total_steps=10), 20)
    with pytest.raises(ScheduleError, match="one of 2 groups"):
        recorded(StepLR(adam(), 1), 3, group=2)
    with pytest.raises(ScheduleError, match="1 or more"):
        recorded(StepLR(adam(), 1), 0)
