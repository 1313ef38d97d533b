"""What a sink is sent: few numbers under tidy tags."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from surefoot.record.quantities import ALL
from surefoot.sinks.scalars import QUANTITIES, Scalars
from surefoot.types import RUN, Series


def block(quantity: str, steps: Any, layers: tuple[str, ...] = RUN, **k: Any) -> Series:
    steps = np.asarray(steps)
    values = np.tile(steps[:, None].astype(np.float32), (1, len(layers)))
    return Series(quantity, layers, steps, values, **k)


def steps_sent(scalars: Scalars, series: Series) -> list[int]:
    return [step for step, _ in scalars.rows(series)]


def test_the_loss_goes_out_at_every_step() -> None:
    assert steps_sent(Scalars(), block("loss", range(500))) == list(range(500))


@pytest.mark.parametrize("size", [1, 7, 50])
def test_a_layer_goes_out_every_tenth_step_however_it_comes(size: int) -> None:
    scalars, sent = Scalars(), []
    for first in range(0, 350, size):
        series = block("grad_norm", range(first, first + size), ("a", "b"))
        sent += steps_sent(scalars, series)
    assert sent == list(range(0, 350, 10))


def test_readings_that_are_rare_all_go_out() -> None:
    rare = [3, 40, 41, 77, 1000]
    assert steps_sent(Scalars(), block("update_norm", rare, ("a",))) == [
        3, 40, 77, 1000,
    ]  # fmt: skip


def test_streams_and_quantities_are_thinned_apart() -> None:
    scalars = Scalars(every=100)
    for stream in ("main", "critic"):
        for quantity in ("grad_norm", "update_norm"):
            series = block(quantity, range(100), ("a",), stream=stream)
            assert steps_sent(scalars, series) == [0]


def test_tags_are_tidy() -> None:
    rows = [
        *Scalars().rows(block("loss", [0])),
        *Scalars().rows(block("lr", [0], ("group0",))),
        *Scalars().rows(block("grad_norm", [0], ("a.weight", "b"), stream="critic")),
    ]
    assert [list(values) for _, values in rows] == [
        ["surefoot/loss"],
        ["surefoot/lr/group0"],
        ["surefoot/critic/grad_norm/a.weight", "surefoot/critic/grad_norm/b"],
    ]


def test_a_loss_that_is_nan_goes_out_and_a_layer_that_was_not_read_does_not() -> None:
    nan = np.asarray([[math.nan]], np.float32)
    [(_, loss)] = Scalars().rows(Series("loss", RUN, np.arange(1), nan))
    assert math.isnan(loss["surefoot/loss"])
    values = np.asarray([[math.nan, 1.0, math.inf]], np.float32)
    series = Series("grad_norm", ("a", "b", "c"), np.arange(1), values)
    [(_, sent)] = Scalars().rows(series)
    assert sent == {"surefoot/grad_norm/b": 1.0, "surefoot/grad_norm/c": math.inf}


def test_only_what_was_asked_for_goes_out() -> None:
    asked = Scalars(["example_loss"], every=1)
    assert steps_sent(asked, block("loss", range(5))) == []
    assert steps_sent(asked, block("example_loss", range(5), ("0.5",))) == [
        0,
        1,
        2,
        3,
        4,
    ]
    with pytest.raises(ValueError, match="every came as 0; expected at least 1"):
        Scalars(every=0)


def test_the_quantities_are_ones_that_are_recorded() -> None:
    assert set(QUANTITIES) <= {one.name for one in ALL}
