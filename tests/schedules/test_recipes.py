"""Warm-up, annealing, penalties, pacing and large batches, with the papers' numbers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    SequentialLR,
    StepLR,
)

from surefoot.schedules import (
    Constant,
    Cosine,
    Exponential,
    Geometric,
    InverseSigmoid,
    Linear,
    PiecewiseConstant,
    Root,
    ScheduleError,
    Then,
    anneal,
    batch_factor,
    early_strong,
    large_batch,
    ramp_up,
    recorded,
    untuned_warmup,
    warm_up,
)


def sgd(lr: float = 0.1) -> torch.optim.SGD:
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=lr, momentum=0.9)


# --- warm-up ---------------------------------------------------------------------


def test_the_untuned_warm_up_of_beta2_0999_takes_2000_steps() -> None:
    assert untuned_warmup(0.999) == 2_000
    assert untuned_warmup(0.95) == 40
    assert untuned_warmup(0.99) == 200
    assert untuned_warmup(0.9999) == 20_000


@pytest.mark.parametrize("kind", ["linear", "exponential"])
def test_warm_up_joins_the_decay_without_a_jump(kind: str) -> None:
    decay = Cosine(0.1, 0.0, steps=900)
    whole = warm_up(decay, 100, kind=kind)  # pyright: ignore[reportArgumentType]
    assert whole(0) == 0.0
    assert abs(whole(100) - whole(100 - 1e-9)) < 1e-9
    changes = [abs(whole(t + 1) - whole(t)) for t in range(1_000)]
    steepest = 0.1 / 100 if kind == "linear" else 0.1 * (1 - math.exp(-2 / 100))
    assert max(changes) <= steepest * (1 + 1e-9)
    assert whole(1_000) == pytest.approx(0.0, abs=1e-12)


def test_the_linear_warm_up_is_torchs_own() -> None:
    optimizer = sgd()
    first = LinearLR(optimizer, start_factor=0.01, total_iters=100)
    second = CosineAnnealingLR(optimizer, T_max=900)
    theirs = recorded(SequentialLR(optimizer, [first, second], [100]), 1_000).table
    ours = warm_up(Cosine(0.1, 0.0, steps=900), 100, start=0.01).values(1_000)
    assert ours == pytest.approx(theirs, abs=1e-9)


def test_the_exponential_warm_up_is_the_factor_of_ma_and_yarats() -> None:
    beta2 = 0.99
    whole = warm_up(0.1, untuned_warmup(beta2), kind="exponential")
    for step in (1, 50, 100, 500):
        assert whole(step) == pytest.approx(0.1 * -math.expm1(-(1 - beta2) * step))


def test_warm_up_may_start_above_zero() -> None:
    assert warm_up(0.1, 10, start=0.5).values([0, 10, 20]) == [0.05, 0.1, 0.1]
    gradual = warm_up(0.1, 10, start=0.5, kind="exponential")
    assert gradual(0) == pytest.approx(0.05)


@pytest.mark.parametrize("beta2", [-0.1, 1.0, 1.5, math.nan])
def test_an_impossible_beta2_is_refused(beta2: float) -> None:
    with pytest.raises(ScheduleError, match=r"\[0, 1\)"):
        untuned_warmup(beta2)


def test_an_unknown_warm_up_is_refused() -> None:
    with pytest.raises(ScheduleError, match="'linear' or 'exponential'"):
        warm_up(0.1, 10, kind="cubic")  # pyright: ignore[reportArgumentType]


# --- shapes that torch has -------------------------------------------------------


def _torch_shapes() -> list[tuple[LRScheduler, list[float]]]:
    """Torch's own beside a closed form in ours: neither needs the other's code."""
    one_cycle = OneCycleLR(sgd(), 1.0, total_steps=100, pct_start=0.3)
    up, down = Cosine(0.04, 1.0, steps=29), Cosine(1.0, 4e-6, steps=70)
    flat = sgd()
    stable = SequentialLR(
        flat,
        [
            LinearLR(flat, start_factor=0.1, total_iters=10),
            LinearLR(flat, start_factor=1.0, total_iters=1),
            LinearLR(flat, start_factor=1.0, end_factor=1e-3, total_iters=20),
        ],
        [10, 80],
    )
    wsd = Then(warm_up(0.1, 10, start=0.1), Linear(0.1, 1e-4, steps=20), at=80)
    drops = PiecewiseConstant((0.1, 0.01, 1e-3, 1e-4), at=(30, 60, 90))
    half = PiecewiseConstant((0.1, 0.05), at=(50,))
    squares = [0.1 * (1 - t / 100) ** 2 for t in range(100)]
    return [
        (CosineAnnealingLR(sgd(), 100), Cosine(0.1, 0.0, steps=100).values(100)),
        (StepLR(sgd(), 30), drops.values(100)),
        (MultiStepLR(sgd(), [50], 0.5), half.values(100)),
        (PolynomialLR(sgd(), 100, power=2), squares),
        (one_cycle, Then(up, down, at=29).values(100)),
        (stable, wsd.values(100)),
    ]


@pytest.mark.parametrize("place", range(6))
def test_torchs_shapes_are_what_the_page_says_they_are(place: int) -> None:
    scheduler, expected = _torch_shapes()[place]
    assert recorded(scheduler, 100).table == pytest.approx(expected, abs=1e-9)


# --- penalties -------------------------------------------------------------------


def test_a_penalty_of_a_tenth_ramps_up_over_a_hundred_steps() -> None:
    for shape in ("linear", "cosine"):
        penalty = ramp_up(0.1, 100, shape=shape)  # pyright: ignore[reportArgumentType]
        assert penalty(0) == 0.0
        assert penalty(50) == pytest.approx(0.05, rel=1e-12)
        assert [penalty(t) for t in (100, 101, 10_000)] == [0.1] * 3


def test_the_reversed_penalty_falls_as_the_other_rises() -> None:
    for shape in ("linear", "cosine"):
        strong = early_strong(0.1, 100, shape=shape)  # pyright: ignore[reportArgumentType]
        assert strong(0) == 0.1
        assert strong(50) == pytest.approx(0.05, rel=1e-12)
        assert [strong(t) for t in (100, 101, 10_000)] == [0.0] * 3
    assert early_strong(0.2, 100, then=0.1)(1_000) == 0.1


@given(step=st.floats(0, 200))
def test_both_shapes_of_a_penalty_add_up_to_its_strength(step: float) -> None:
    both = ramp_up(0.1, 100) + early_strong(0.1, 100)
    assert both(step) == pytest.approx(0.1, rel=1e-12)


# --- annealing -------------------------------------------------------------------


def test_a_geometric_temperature_from_1_to_001_is_a_tenth_halfway() -> None:
    assert anneal(1.0, 0.01, 1_000)(500) == pytest.approx(0.1, rel=1e-12)
    assert anneal(1.0, 0.01, 1_000, shape="linear")(500) == pytest.approx(0.505)
    assert anneal(1.0, 0.01, 1_000, shape="cosine")(500) == pytest.approx(0.505)
    with pytest.raises(ScheduleError, match="'geometric'"):
        anneal(1.0, 0.01, 10, shape="cubic")  # pyright: ignore[reportArgumentType]


def test_geometric_spans_what_has_no_ratio() -> None:
    assert Geometric(1e-300, 1e300, steps=2)(1) == pytest.approx(1.0)
    assert Geometric(-1.0, -0.01, steps=2)(1) == pytest.approx(-0.1)


# --- scheduled sampling ----------------------------------------------------------


def test_the_inverse_sigmoid_has_bengios_numbers() -> None:
    share = InverseSigmoid(10.0)
    assert share(0) == pytest.approx(0.90909, abs=5e-6)
    half = 10 * math.log(10)
    assert half == pytest.approx(23.026, abs=5e-4)
    assert share(half) == pytest.approx(0.5, abs=1e-12)
    slope = (share(half + 1e-4) - share(half - 1e-4)) / 2e-4
    assert slope == pytest.approx(-1 / 40, rel=1e-6)
    assert InverseSigmoid(100.0)(460.52) == pytest.approx(0.5, abs=1e-4)
    assert 100 * math.log(100) == pytest.approx(460.52, abs=5e-3)
    assert InverseSigmoid.half_at(5_000).k == pytest.approx(754.58, abs=5e-3)


@given(step=st.floats(0, 1e9))
def test_k_is_found_for_a_half_at_any_step(step: float) -> None:
    k = InverseSigmoid.half_at(step).k
    assert k * math.log(k) == pytest.approx(step, rel=1e-9, abs=1e-9)


def test_the_inverse_sigmoid_does_not_overflow() -> None:
    share = InverseSigmoid(1.0)
    assert share(1e6) == 0.0
    assert InverseSigmoid(1e6)(0) == pytest.approx(1.0, abs=2e-6)
    with pytest.raises(ScheduleError):
        InverseSigmoid.half_at(-1)


def test_the_other_two_shapes_of_scheduled_sampling() -> None:
    k, c, floor = 0.999, 1e-3, 0.1
    exponential = Exponential(1.0, 0.0, scale=-1 / math.log(k))
    linear = Linear(1.0, floor, steps=(1 - floor) / c)
    for step in (0, 1, 100, 899, 900, 5_000):
        assert exponential(step) == pytest.approx(k**step, rel=1e-12)
        assert linear(step) == pytest.approx(max(floor, 1 - c * step), rel=1e-12)


# --- pacing ----------------------------------------------------------------------


def test_the_root_pace_is_0500075_after_a_quarter() -> None:
    assert Root(0.01, 1.0, steps=1_000)(250) == pytest.approx(0.500075, abs=5e-7)
    assert Root(0.01, 1.0, steps=1_000).values([0, 1_000, 2_000]) == [0.01, 1.0, 1.0]


@given(start=st.floats(0, 1), power=st.floats(0.5, 8), share=st.floats(0, 1))
def test_the_root_pace_never_leaves_its_ends(
    start: float, power: float, share: float
) -> None:
    found = Root(start, 1.0, steps=1.0, power=power)(share)
    assert start - 1e-12 <= found <= 1.0


# --- large batches ---------------------------------------------------------------


def test_eight_times_the_batch_is_8_or_2828_times_the_rate() -> None:
    assert batch_factor(256, reference=32) == 8.0
    assert batch_factor(256, reference=32, rule="sqrt") == pytest.approx(
        2.828, abs=5e-4
    )


def test_a_large_batch_warms_up_from_the_rate_of_the_small_one() -> None:
    whole = large_batch(Cosine(0.1, 0.0, steps=100), 256, reference=32, steps=50)
    assert whole(0) == pytest.approx(0.1)
    assert whole(50) == pytest.approx(0.8)
    assert whole(100) == pytest.approx(0.4)
    assert whole(150) == pytest.approx(0.0)
    root = large_batch(0.1, 256, reference=32, steps=50, rule="sqrt")
    assert root(60) == pytest.approx(0.2828, abs=5e-5)
    assert large_batch(0.1, 16, reference=32, steps=50)(0) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("batch", "reference", "rule"),
    [(0, 32, "linear"), (8, -1, "linear"), (math.inf, 1, "sqrt"), (8, 8, "cube")],
)
def test_an_impossible_batch_is_refused(
    batch: float, reference: float, rule: str
) -> None:
    with pytest.raises(ScheduleError):
        batch_factor(batch, reference=reference, rule=rule)  # pyright: ignore[reportArgumentType]


def test_a_constant_is_warmed_up_as_it_is() -> None:
    assert warm_up(Constant(0.1), 4).values(6) == pytest.approx(
        [0.0, 0.025, 0.05, 0.075, 0.1, 0.1]
    )
