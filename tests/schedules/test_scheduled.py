"""A schedule is a pure, stored, composable function of the step."""

from __future__ import annotations

import copy
import json
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from any_schedule import SCHEDULES
from surefoot.schedules import (
    Clamp,
    Constant,
    Cosine,
    Exponential,
    Geometric,
    InversePower,
    InverseSigmoid,
    Linear,
    PiecewiseConstant,
    Product,
    Repeated,
    Root,
    Scheduled,
    ScheduleError,
    Shifted,
    Smoothed,
    Tabulated,
    Then,
    from_dict,
    scheduled,
    to_dict,
    value_at,
)
from surefoot.schedules.stored import KINDS

AT = st.one_of(st.integers(0, 2_000), st.floats(0, 2_000))


def one_of_each() -> list[Scheduled]:
    line, curve = Linear(0.0, 1.0, steps=10), Cosine(1.0, 0.1, steps=20)
    singles = [
        Constant(0.5), line, curve, Geometric(1.0, 0.1, steps=10),
        Root(0.1, 1.0, steps=10), Exponential(1.0, 0.0, scale=5.0),
        InverseSigmoid(10.0), InversePower(0.5, exponent=0.5), Tabulated((0.1, 0.2)),
        PiecewiseConstant((1.0, 0.5), at=(7,)),
    ]  # fmt: skip
    pairs = [kind(line, curve) for kind in KINDS if _fields(kind) == ("left", "right")]
    return [
        *singles,
        *pairs,
        Then(line, curve, at=10),
        Clamp(line, low=0.2, high=0.7),
        Shifted(curve, by=-3),
        Repeated(line, period=4),
        Smoothed(curve, width=3),
    ]


def _fields(kind: type[Scheduled]) -> tuple[str, ...]:
    return tuple(kind.__dataclass_fields__)


# --- purity and storage ----------------------------------------------------------


@given(schedule=SCHEDULES, steps=st.lists(AT, min_size=1, max_size=5))
def test_a_value_depends_on_the_step_alone(
    schedule: Scheduled, steps: list[float]
) -> None:
    there = [schedule(step) for step in steps]
    back = [schedule(step) for step in reversed(steps)]
    assert there == back[::-1] == schedule.values(steps)
    assert all(isinstance(value, float | int) for value in there)


@given(schedule=SCHEDULES, step=AT)
def test_what_is_stored_as_json_comes_back_equal(
    schedule: Scheduled, step: float
) -> None:
    text = json.dumps(to_dict(schedule), allow_nan=False)
    found = from_dict(json.loads(text))
    assert found == schedule
    assert hash(found) == hash(schedule)
    assert found(step) == schedule(step)


@given(schedule=SCHEDULES)
@settings(max_examples=30)
def test_a_schedule_is_copied_and_pickled(schedule: Scheduled) -> None:
    assert copy.deepcopy(schedule) == schedule
    assert pickle.loads(pickle.dumps(schedule)) == schedule


def test_every_kind_is_stored_and_none_is_left_out() -> None:
    assert {type(one) for one in one_of_each()} == set(KINDS)
    assert _concrete(Scheduled) == {kind.__name__ for kind in KINDS}


def _concrete(kind: type[Scheduled]) -> set[str]:
    """Names, as a class with slots leaves one without behind."""
    own = not kind.__abstractmethods__ and kind.__module__.startswith("surefoot.")
    below = [_concrete(one) for one in kind.__subclasses__()]
    return {kind.__name__ for _ in range(own)}.union(*below)


@pytest.mark.parametrize("schedule", one_of_each(), ids=lambda one: type(one).__name__)
def test_every_kind_says_in_words_what_it_does(schedule: Scheduled) -> None:
    assert type(schedule).__name__ not in str(schedule)
    assert "=" not in str(schedule)


@pytest.mark.parametrize("schedule", one_of_each(), ids=lambda one: type(one).__name__)
def test_a_schedule_cannot_be_changed(schedule: Scheduled) -> None:
    name = _fields(type(schedule))[0]
    with pytest.raises(AttributeError):
        setattr(schedule, name, 1.0)


def test_a_run_that_is_resumed_sees_the_identical_tail() -> None:
    whole = Then(Linear(0.0, 0.1, steps=10), Cosine(0.1, 0.0, steps=90), at=10)
    values = whole.values(100)
    for stop in (1, 10, 37):
        again = from_dict(json.loads(json.dumps(to_dict(whole))))
        assert again.values(range(stop, 100)) == values[stop:]


# --- combination -----------------------------------------------------------------


def test_warm_up_then_cosine_leaves_no_gap() -> None:
    warm = Then(Linear(0.0, 0.1, steps=10), Cosine(0.1, 0.0, steps=90), at=10)
    assert warm(10) == 0.1
    assert abs(warm(10 - 1e-9) - warm(10)) < 1e-10
    largest = max(abs(warm(t + 1) - warm(t)) for t in range(120))
    assert largest <= 0.1 / 10 + 1e-15


@given(left=SCHEDULES, right=SCHEDULES, step=AT, number=st.floats(-10, 10))
@settings(max_examples=50)
def test_operators_combine_values(
    left: Scheduled, right: Scheduled, step: float, number: float
) -> None:
    assert (left + right)(step) == left(step) + right(step)
    assert (left * right)(step) == left(step) * right(step)
    assert (number * left)(step) == number * left(step)
    assert (number + left)(step) == number + left(step)
    assert (left * number)(step) == left(step) * number
    assert (left + number)(step) == left(step) + number


@given(inner=SCHEDULES, width=st.integers(1, 8), step=st.integers(0, 60))
@settings(max_examples=50)
def test_a_moving_average_is_that_of_the_last_steps(
    inner: Scheduled, width: int, step: int
) -> None:
    seen = [inner(max(0, step - back)) for back in range(width)]
    assert math.isclose(
        Smoothed(inner, width)(step), math.fsum(seen) / width, rel_tol=1e-12
    )


def test_a_number_stands_for_a_constant() -> None:
    assert scheduled(0.1) == Constant(0.1)
    line = Linear(0.0, 1.0, steps=2)
    assert scheduled(line) is line
    assert (value_at(0.1, 7), value_at(line, 1)) == (0.1, 0.5)


def test_numbers_of_numpy_are_numbers() -> None:
    line = Linear(np.float32(0.5), np.int64(1), steps=10)
    assert line(np.int64(5)) == 0.75
    assert from_dict(json.loads(json.dumps(to_dict(line)))) == line
    assert Constant(Fraction(1, 2))(0) == 0.5


# --- what is refused -------------------------------------------------------------


@pytest.mark.parametrize(
    "step", [-1, -1e-9, math.nan, math.inf, "3", None, True, 10**400]
)
def test_a_step_before_the_start_or_no_number_is_refused(step: object) -> None:
    with pytest.raises(ScheduleError, match="expected a number of 0 or more"):
        Constant(1.0)(step)  # pyright: ignore[reportArgumentType]


def test_a_shifted_schedule_cannot_be_read_before_it_starts() -> None:
    late = Shifted(Linear(0.0, 1.0, steps=10), by=100)
    assert late(100) == 0.0
    with pytest.raises(ScheduleError, match="expected 100 or more"):
        late(99)
    held = Then(Constant(0.0), Linear(0.0, 1.0, steps=10), at=100)
    assert held.values([99, 100, 105]) == [0.0, 0.0, 0.5]


@pytest.mark.parametrize(
    ("kind", "fields", "told"),
    [
        (Constant, {"level": math.nan}, "finite"),
        (Constant, {"level": "0.1"}, "finite"),
        (Constant, {"level": True}, "finite"),
        (Linear, {"start": 0, "end": math.inf, "steps": 1}, "finite"),
        (Linear, {"start": 0, "end": 1, "steps": 0}, "positive number of steps"),
        (Geometric, {"start": -1, "end": 1, "steps": 1}, "one sign"),
        (Geometric, {"start": 1, "end": 0, "steps": 1}, "one sign"),
        (Root, {"start": -0.1, "end": 1, "steps": 1}, "not negative"),
        (Root, {"start": 0, "end": 1, "steps": 1, "power": 0}, "power above 0"),
        (Exponential, {"start": 0, "end": 1, "scale": 0}, "above 0"),
        (InverseSigmoid, {"k": 0.5}, "1 or more"),
        (PiecewiseConstant, {"levels": (1.0,), "at": (3,)}, "one level more"),
        (PiecewiseConstant, {"levels": (1, 2, 3), "at": (5, 5)}, "that rise"),
        (PiecewiseConstant, {"levels": 1.0, "at": ()}, "a tuple"),
        (PiecewiseConstant, {"levels": (1, "2"), "at": (5,)}, "finite"),
        (Tabulated, {"table": ()}, "empty"),
        (Product, {"left": 2.0, "right": Constant(1)}, "a schedule"),
        (Then, {"first": Constant(1), "second": Constant(1), "at": -1}, "0 or more"),
        (Clamp, {"inner": Constant(1), "low": 2.0, "high": 1.0}, "low <= high"),
        (Repeated, {"inner": Constant(1), "period": 0}, "above 0"),
        (Smoothed, {"inner": Constant(1), "width": 0}, "1 or more"),
        (Smoothed, {"inner": Constant(1), "width": 2.5}, "1 or more"),
    ],
)
def test_what_makes_no_schedule_is_refused(
    kind: type[Scheduled], fields: dict[str, object], told: str
) -> None:
    with pytest.raises(ScheduleError, match=told):
        kind(**fields)


@pytest.mark.parametrize(
    "told",
    [
        {"kind": "Absent"},
        {"kind": "Scheduled"},
        {"kind": ["Constant"]},
        {},
        [],
        "Constant",
        {"kind": "Constant"},
        {"kind": "Constant", "level": "1"},
        {"kind": "Constant", "level": 1, "more": 2},
        {"kind": "Constant", "level": 10**400},
        {"kind": "Product", "left": 1, "right": {"kind": "Constant", "level": 1}},
        {"kind": "Tabulated", "table": [[1.0]]},
    ],
)
def test_what_is_no_stored_schedule_is_refused(told: object) -> None:
    with pytest.raises(ScheduleError):
        from_dict(told)  # pyright: ignore[reportArgumentType]


def test_a_kind_of_somebody_else_works_but_is_not_stored() -> None:
    class Mine(Scheduled):
        def value(self, step: float) -> float:
            return 2.0 * step

    assert (0.5 * Mine())(3) == 3.0
    with pytest.raises(ScheduleError, match="KINDS"):
        to_dict(Mine())
