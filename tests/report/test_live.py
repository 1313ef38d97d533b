"""A live view: blocks come in, a few true lines go out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from surefoot.report.live import (
    POINTS,
    Live,
    after,
    alarm_text,
    live_json,
    live_lines,
    outstanding,
    plain_line,
)
from surefoot.types import RUN, Event, Series

LAYERS = tuple(f"layers.{i}.weight" for i in range(6))


def block(
    quantity: str, values: Any, layers: tuple[str, ...] = RUN, start: int = 0, **k: Any
) -> Series:
    array = np.asarray(values, np.float32)
    array = array[:, None] if array.ndim == 1 else array
    return Series(quantity, layers, np.arange(start, start + len(array)), array, **k)


def fold(*series: Series, name: str = "net") -> Live:
    live = Live(name)
    for one in series:
        live = after(live, one)
    return live


def losses(values: Any, size: int) -> Live:
    """A run whose losses come in blocks of some size."""
    parts = range(0, len(values), size)
    return fold(*(block("loss", values[at : at + size], start=at) for at in parts))


@pytest.mark.parametrize("size", [1, 50, 997, 100_000])
def test_one_spike_among_a_hundred_thousand_steps_is_seen(size: int) -> None:
    values = np.ones(10_000 if size == 1 else 100_000, np.float32)
    values[7_531] = 40.0
    live = losses(values, size)
    line = live_lines(live, width=80)[1]
    assert line.count("█") == 1
    assert "1 to 40" in line
    trail = live.courses["main"].trail
    assert trail is not None
    assert len(trail.places) <= POINTS
    at = line.index("█") - line.index("▁")
    blocks = line.count("▁") + line.count("█")
    assert at / blocks == pytest.approx(7_531 / len(values), abs=2 / blocks)


def test_how_it_was_cut_into_blocks_does_not_matter() -> None:
    values = np.random.default_rng(0).lognormal(size=5_000).astype(np.float32)
    values[[77, 2_000]] = np.nan, np.inf
    shown = [live_lines(losses(values, size), width=100) for size in (1, 7, 50, 5_000)]
    assert shown.count(shown[0]) == 4


def test_what_comes_twice_counts_once() -> None:
    one = block("loss", [1.0, 2.0, 3.0])
    again = block("loss", [9.0, 2.5], start=2)
    live = fold(one, one, again)
    assert live.step == 3
    assert live.courses["main"].loss == 2.5
    assert "1 to 3" in live_lines(live, width=80)[1]


def test_a_loss_that_is_not_finite_is_marked() -> None:
    live = fold(block("loss", [1.0, math.nan, 2.0, math.inf]))
    head, line = live_lines(live, width=80)
    assert "loss inf" in head
    assert line.count("×") == 3  # two readings, and what the mark means
    assert "not finite" in line
    only = live_lines(fold(block("loss", [math.nan] * 9)), width=80)[1]
    assert "×" * 9 in only


def test_a_wide_range_is_drawn_by_its_logarithm() -> None:
    line = live_lines(fold(block("loss", [1e4, 1e2, 1.0])), width=80)[1]
    assert line.startswith("loss  █▅▁")
    assert "1 to 10,000, log" in line


def test_the_head_tells_step_loss_rate_and_speed() -> None:
    live = fold(
        block("loss", [0.5]),
        block("lr", [[0.1, 0.01]], ("group0", "group1")),
        block("step_seconds", [0.02, 0.5, 0.02]),
        name="net-1",
    )
    head = live_lines(live, width=80)[0]
    assert head == "step 3  loss 0.5  lr 0.01 to 0.1  50 steps/s  net-1"
    assert plain_line(live).startswith("step 3  loss 0.5  lr 0.01 to 0.1  50 steps/s")


def test_on_a_narrow_terminal_the_shape_of_the_loss_stays() -> None:
    head, line = live_lines(losses(np.linspace(3, 1, 300), 50), width=20)
    assert head == "step 300  loss 1  n…"
    assert line.startswith("loss  █")
    assert len(line) == 20


def test_several_streams_have_a_line_each() -> None:
    live = fold(
        block("loss", [1.0, 0.5], stream="generator"),
        block("loss", [2.0], stream="critic"),
    )
    lines = live_lines(live, width=80)
    assert [line.split()[0] for line in lines] == ["step", "generator", "critic"]


def test_before_the_first_reading_there_is_a_line() -> None:
    assert live_lines(Live("net"), width=80) == ["step 0  net"]
    assert plain_line(Live("net")) == "step 0"


# --- what stands out ------------------------------------------------------------


def sized(updates: list[float], grads: list[float]) -> Live:
    """A net whose weights have norm 2; the readings before the last do not count."""
    before, two = [9.0] * 6, np.float32(2.0)
    return fold(
        block("weight_norm", [before, [2.0] * 6], LAYERS),
        block("update_norm", [before, np.float32(updates) * two], LAYERS),
        block("grad_norm", [before, np.float32(grads) * two], LAYERS),
    )


EVEN = [0.010, 0.011, 0.009, 0.012, 0.010, 0.008]


def test_layers_like_each_other_are_not_named() -> None:
    live = sized(EVEN, EVEN)
    assert outstanding(live, {"main": LAYERS}) == []
    assert len(live_lines(live, width=80)) == 1


def test_the_largest_update_and_the_smallest_gradient_are_named() -> None:
    updates, grads = list(EVEN), list(EVEN)
    updates[3], grads[0] = 0.8, 1e-9
    live = sized(updates, grads)
    found = outstanding(live, {"main": LAYERS})
    assert [(one.kind, one.layer) for one in found] == [
        ("updates", LAYERS[3]),
        ("gradient", LAYERS[0]),
    ]
    assert found[0].value == pytest.approx(0.8)
    assert found[0].typical == pytest.approx(0.010, rel=0.1)
    lines = live_lines(live, width=100, standing=found)
    assert "layers.3.weight: updates 0.8 of its weights" in lines[-2]
    assert "layers.0.weight: gradient 1e-09 of its weights" in lines[-1]


def test_biases_are_not_compared() -> None:
    updates = list(EVEN)
    updates[3] = 0.8
    known = [name for i, name in enumerate(LAYERS) if i != 3]
    assert outstanding(sized(updates, EVEN), {"main": known}) == []


def test_a_gradient_of_zero_stands_out_and_one_that_is_no_number_does_not() -> None:
    zero, broken = [0.0, *EVEN[1:]], [math.inf, math.inf, *EVEN[2:]]
    [found] = outstanding(sized(EVEN, zero), {"main": LAYERS})
    assert (found.kind, found.value) == ("gradient", 0.0)
    assert outstanding(sized(broken, broken), {"main": LAYERS}) == []


def test_dead_layers_are_named() -> None:
    live = fold(block("dead_share", [[0.1, 0.97, math.nan]], ("a", "b", "c")))
    [found] = outstanding(live, {})
    assert (found.layer, found.kind) == ("b", "dead")
    assert (
        "b: 97% of its units are dead"
        in live_lines(live, width=80, standing=[found])[-1]
    )


def test_a_layer_whose_last_reading_is_missing_keeps_the_one_before() -> None:
    live = fold(block("dead_share", [[0.95], [math.nan]], ("a",)))
    assert [one.layer for one in outstanding(live, {})] == ["a"]


# --- terminals ------------------------------------------------------------------


def full() -> tuple[Live, list[Any]]:
    updates = list(EVEN)
    updates[3] = 0.8
    live = sized(updates, EVEN)
    live = after(live, block("loss", np.linspace(3, 1, 300)))
    live = after(live, block("loss", [math.nan], start=300))
    return live, outstanding(live, {"main": LAYERS})


@pytest.mark.parametrize("width", [1, 5, 19, 20, 40, 79, 300])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_no_line_is_wider_than_the_terminal(width: int, ascii_only: bool) -> None:
    live, standing = full()
    lines = live_lines(live, width=width, standing=standing, ascii_only=ascii_only)
    lines.append(plain_line(live, width=width, ascii_only=ascii_only))
    assert all(len(line) <= width for line in lines)
    assert all(line.isascii() for line in lines) or not ascii_only


def test_without_blocks_the_shape_is_drawn_in_ascii() -> None:
    live, standing = full()
    line = live_lines(live, width=80, standing=standing, ascii_only=True)[1]
    assert line.count("x") >= 2
    assert "#" in line
    assert "_" in line


def test_colour_is_only_there_when_it_is_asked_for() -> None:
    live, standing = full()
    plain = live_lines(live, width=80, standing=standing)
    coloured = live_lines(live, width=80, standing=standing, colour=True)
    assert not any("\x1b" in line for line in plain)
    assert coloured[0] == f"\x1b[1m{plain[0]}\x1b[0m"
    assert coloured[-1].startswith("\x1b[1;33m!")


def test_hostile_names_cannot_steer_the_terminal() -> None:
    name = "\x1b[2J\u202eevil\r\n"
    live = fold(block("dead_share", [[0.99]], (name,)), name=name)
    event = Event(3, "finding", {"cause": name, "layer": name, "confidence": "0.9"})
    lines = live_lines(live, width=200, standing=outstanding(live, {}))
    for text in (*lines, alarm_text(event)):
        assert not {"\x1b", "\r", "\n", "\u202e"} & set(text)


def test_the_same_as_json() -> None:
    live, standing = full()
    told = live_json(live, standing)
    assert told["steps"] == 301
    assert told["streams"]["main"]["step"] == 300
    assert [one["layer"] for one in told["outstanding"]] == [LAYERS[3]]
