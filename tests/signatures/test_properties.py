"""Whatever a record holds: no error, no warning, and findings that hold together."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import cases
from surefoot.diagnosis.diagnose import diagnose
from surefoot.record import quantities
from surefoot.signatures.detect import detect
from surefoot.types import RUN, Event, Facts, Series

FACTS = tuple(cases.facts_of(activation=kind) for kind in ("ReLU", "Tanh"))
NUMBERS = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, math.nan, math.inf, -math.inf, 3e38, 1e-45]),
    st.floats(width=32),
)
QUIET = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@st.composite
def records(draw: st.DrawFn) -> tuple[dict[str, Series], Facts, list[Event]]:
    """Any quantities on any steps: short, with gaps, constant, or not finite."""
    facts = draw(st.sampled_from(FACTS))
    axes = cases.layers_of(facts)
    names = [one.name for one in quantities.ALL]
    found: dict[str, Series] = {}
    for name in draw(st.lists(st.sampled_from(names), unique=True)):
        layers = axes.get(name, RUN)
        count = draw(st.sampled_from([0, 1, 2, 3, 7, 25, 70]))
        gaps = draw(hnp.arrays(np.int64, count, elements=st.integers(1, 12)))
        shape = (count, len(layers))
        if draw(st.booleans()):
            values = np.full(shape, draw(NUMBERS), np.float32)
        else:
            few = draw(hnp.arrays(np.float32, 12, elements=NUMBERS))
            seed = draw(st.integers(0, 2**16))
            values = np.random.default_rng(seed).choice(few, shape)
        found[name] = Series(name, layers, np.cumsum(gaps) - 1, values)
    bodies = [{}, {"module": "4", "operation": "log", "direction": "data"}]
    steps = draw(st.lists(st.integers(0, 99), max_size=2))
    events = [Event(step, "nonfinite", draw(st.sampled_from(bodies))) for step in steps]
    return found, facts, events


@given(records())
@QUIET
def test_no_record_is_too_odd(
    record: tuple[dict[str, Series], Facts, list[Event]],
) -> None:
    series, facts, events = record
    found = detect(series, facts, events)
    ends = [int(one.steps[-1]) for one in series.values() if one.steps.size]
    last = max([*ends, *(event.step for event in events)], default=0)
    known = {p.name for p in facts.parameters} | {m.name for m in facts.modules}
    for one in found:
        assert 0 <= one.onset <= last
        assert one.layer in known | {"run", "input"}
        assert all(name in known | {"run", "input"} for name in one.layers)
        assert asdict(one)["evidence"]
    for diagnosis in diagnose(found, facts, events):
        assert diagnosis.prescriptions
        assert 0 <= diagnosis.onset <= last


@given(st.floats(1e-12, 1e12), st.floats(-1e3, 1e3))
@QUIET
def test_the_unit_and_the_zero_of_a_healthy_loss_do_not_matter(
    unit: float, zero: float
) -> None:
    case = cases.healthy_cases()[0]
    loss = case.series["loss"]
    values = ((loss.values.astype(np.float64) + zero) * unit).astype(np.float32)
    series = {**case.series, "loss": replace(loss, values=values)}
    found = detect(series, case.facts, ())
    assert [one for one in found if one.severity != "info"] == []


@given(st.floats(1e-6, 1e6))
@QUIET
def test_the_size_of_healthy_gradients_does_not_matter(unit: float) -> None:
    case = cases.healthy_cases()[0]
    grads = case.series["grad_norm"]
    scaled = replace(grads, values=grads.values * np.float32(unit))
    found = detect({**case.series, "grad_norm": scaled}, case.facts, ())
    assert [one for one in found if one.severity != "info"] == []
