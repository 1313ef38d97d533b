"""Any schedule at all: what properties of all of them are checked on."""

from __future__ import annotations

from hypothesis import strategies as st

from surefoot.schedules import (
    Clamp,
    Constant,
    Cosine,
    Exponential,
    Geometric,
    InversePower,
    InverseSigmoid,
    Linear,
    Maximum,
    Minimum,
    PiecewiseConstant,
    Product,
    Repeated,
    Root,
    Scheduled,
    Shifted,
    Smoothed,
    Sum,
    Tabulated,
    Then,
)

NUMBERS = st.floats(-1e3, 1e3)
SIZES = st.floats(1e-3, 1e3)
STEPS = st.one_of(st.integers(1, 1_000), SIZES)

levels = st.lists(NUMBERS, min_size=1, max_size=4)


@st.composite
def _stairs(draw: st.DrawFn) -> Scheduled:
    at = sorted(draw(st.sets(st.integers(1, 100), max_size=3)))
    values = draw(st.lists(NUMBERS, min_size=len(at) + 1, max_size=len(at) + 1))
    return PiecewiseConstant(tuple(values), at=tuple(at))


@st.composite
def _clamped(draw: st.DrawFn, inner: st.SearchStrategy[Scheduled]) -> Scheduled:
    low, high = sorted((draw(NUMBERS), draw(NUMBERS)))
    return Clamp(draw(inner), low=low, high=high)


LEAVES: st.SearchStrategy[Scheduled] = st.one_of(
    st.builds(Constant, NUMBERS),
    st.builds(Linear, NUMBERS, NUMBERS, STEPS),
    st.builds(Cosine, NUMBERS, NUMBERS, STEPS),
    st.builds(Geometric, SIZES, SIZES, STEPS),
    st.builds(Root, SIZES, SIZES, STEPS, st.floats(0.5, 4.0)),
    st.builds(Exponential, NUMBERS, NUMBERS, SIZES),
    st.builds(InversePower, NUMBERS, st.floats(0.0, 3.0)),
    st.builds(InverseSigmoid, st.floats(1.0, 1e3)),
    st.builds(Tabulated, levels.map(tuple)),
    _stairs(),
)


def _made_of(inner: st.SearchStrategy[Scheduled]) -> st.SearchStrategy[Scheduled]:
    return st.one_of(
        *(st.builds(kind, inner, inner) for kind in (Sum, Product, Maximum, Minimum)),
        st.builds(Then, inner, inner, st.integers(0, 50)),
        st.builds(Repeated, inner, SIZES),
        st.builds(Shifted, inner, st.integers(-20, 0)),
        st.builds(Smoothed, inner, st.integers(1, 5)),
        _clamped(inner),
    )


SCHEDULES: st.SearchStrategy[Scheduled] = st.recursive(LEAVES, _made_of, max_leaves=4)
