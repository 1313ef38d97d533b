from __future__ import annotations

import json
import math
from types import MappingProxyType

import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from surefoot.record import rows
from surefoot.record.facts import facts_in
from surefoot.types import Facts, Module, Parameter

STEPS = st.lists(
    st.integers(-(2**62), 2**62), min_size=1, max_size=40, unique=True
).map(lambda found: np.array(sorted(found), dtype=np.int64))
FLOATS = st.floats(width=32)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
).filter(lambda value: "\\ud" not in json.dumps(value))


@given(steps=STEPS, data=st.data())
def test_block_comes_back_bit_for_bit(steps: np.ndarray, data: st.DataObject) -> None:
    layers = data.draw(st.integers(0, 5))
    values = data.draw(
        arrays.arrays("<f4", (len(steps), layers), elements=FLOATS, fill=st.nothing())
    )
    row = rows.chunk_row(7, steps, values)
    assert rows.chunk_whole(row)
    found = rows.readings_in(row, layers)
    assert found is not None
    np.testing.assert_array_equal(found[0], steps)
    assert found[1].tobytes() == values.tobytes()


@given(
    first=st.integers(-1000, 10**9), stride=st.integers(1, 999), n=st.integers(1, 60)
)
def test_even_steps_take_no_room(first: int, stride: int, n: int) -> None:
    steps = first + stride * np.arange(n, dtype=np.int64)
    row = rows.chunk_row(1, steps, np.zeros((n, 1), np.float32))
    assert row[4] is None
    np.testing.assert_array_equal(rows.readings_in(row, 1)[0], steps)


@given(STEPS, st.integers(0, 6), st.integers(1, 255))
def test_altered_block_fails_its_crc(steps: np.ndarray, part: int, flip: int) -> None:
    row = list(rows.chunk_row(3, steps, np.ones((len(steps), 2), np.float32)))
    if isinstance(row[part], bytes):
        row[part] = bytes([row[part][0] ^ flip]) + row[part][1:]
    elif row[part] is None:
        row[part] = b"\0"
    else:
        row[part] ^= flip
    assert not rows.chunk_whole(tuple(row))


def test_text_cannot_shift_between_columns() -> None:
    row = rows.event_row(1, 5, "main", "note", "{}")
    assert rows.whole("event", row)
    assert not rows.whole("event", (1, 5, "mainn", "ote", "{}", row[-1]))
    assert not rows.whole("meta", row)


@given(JSON)
def test_json_comes_back(value: object) -> None:
    assert json.loads(rows.encoded(value)) == value


def test_json_takes_what_training_hands_over() -> None:
    facts = Facts(
        stream="g",
        model="Net",
        optimizer="SGD",
        options={"lr": np.float64(0.5), "nesterov": False},
        parameters=(Parameter("a.weight", "a", 12, trainable=False),),
        modules=(Module("a", "Linear"),),
        unseen=("compiled",),
    )
    back = facts_in("g", json.loads(rows.encoded(facts)))
    assert back == facts
    odd = {"s": {3, 1}, "m": MappingProxyType({"a": 1}), "n": math.nan, "p": object}
    text = rows.encoded(odd)
    assert json.loads(text)["s"] == [1, 3]
    assert json.loads(text)["m"] == {"a": 1}
    assert math.isnan(json.loads(text)["n"])


def test_facts_survive_missing_and_foreign_keys() -> None:
    assert facts_in("main", None) == Facts()
    assert facts_in("main", {"parameters": 3, "modules": [1, None], "options": []}) == (
        Facts()
    )
    told = facts_in("main", {"parameters": [{"name": "w", "hue": 1, "size": None}]})
    assert told.parameters == (Parameter("w", "", 0),)
