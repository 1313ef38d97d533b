from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from surefoot.record.reader import RecordReader, UnknownQuantityError
from surefoot.record.rollup import Overview
from surefoot.record.writer import RecordWriter
from surefoot.types import Floats, Series, Steps

NAMES = ("a", "b", "c")
ODD = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 0.0], np.float32)


def _values(count: int, layers: int, seed: int, odd_share: float) -> Floats:
    random = np.random.default_rng(seed)
    values = random.normal(size=(count, layers)).astype(np.float32)
    odd = random.random(values.shape) < odd_share
    values[odd] = random.choice(ODD, size=int(odd.sum()))
    return values


@st.composite
def _runs(draw: st.DrawFn) -> tuple[list[int], Steps, Floats]:
    """Sizes of blocks, and the readings in them: up to 20 rows of level 0."""
    sizes = draw(st.lists(st.integers(1, 700), min_size=1, max_size=12))
    count, first = sum(sizes), draw(st.integers(0, 5000))
    stride, seed = draw(st.sampled_from((1, 2, 10))), draw(st.integers(0, 2**31))
    gaps = np.full(count, stride)
    if draw(st.booleans()):
        random = np.random.default_rng(seed + 1)
        gaps[random.random(count) < 0.02] += random.integers(1, 3000)
    layers = draw(st.integers(1, 3))
    odd_share = draw(st.sampled_from((0.0, 0.01, 0.9, 1.0)))
    return sizes, first + np.cumsum(gaps), _values(count, layers, seed, odd_share)


def _write(
    path: Path, run: tuple[list[int], Steps, Floats], *, close: bool = True
) -> RecordWriter:
    sizes, steps, values = run
    writer = RecordWriter(path, {})
    at = 0
    for size in sizes:
        part = slice(at, at + size)
        names = NAMES[: values.shape[1]]
        writer.append(Series("grad_norm", names, steps[part], values[part]))
        at += size
    assert writer.flush()
    if close:
        writer.close()
    return writer


def _assert_true(
    found: Overview, steps: Steps, values: Floats, *, start: int, stop: int
) -> None:
    """Every bin says what its readings say; the outermost may say more."""
    rolled = found.rollup
    inside = (steps >= start) & (steps < stop)
    if not inside.any():
        return
    assert np.all(np.diff(rolled.steps // rolled.width) > 0)
    assert rolled.steps[0] >= start
    assert rolled.steps[-1] < stop
    which = np.searchsorted(rolled.steps, steps[inside], side="right") - 1
    assert which[0] == 0
    for index in range(len(rolled.steps)):
        own = values[inside][which == index]
        low, high = np.fmin.reduce(own), np.fmax.reduce(own)
        broken = (~np.isfinite(own)).any(axis=0)
        if 0 < index < len(rolled.steps) - 1:
            np.testing.assert_array_equal(rolled.low[index], low)
            np.testing.assert_array_equal(rolled.high[index], high)
            np.testing.assert_array_equal(rolled.broken[index], broken)
        else:
            known = ~np.isnan(low)
            assert np.all(rolled.low[index][known] <= low[known])
            assert np.all(rolled.high[index][known] >= high[known])
            assert np.all(rolled.broken[index] >= broken)


@settings(deadline=None, max_examples=60)
@given(
    run=_runs(),
    points=st.integers(2, 300),
    close=st.booleans(),
    data=st.data(),
)
def test_every_bin_says_what_its_readings_say(run, points, close, data) -> None:
    _, steps, values = run
    first, last = int(steps[0]), int(steps[-1])
    start = data.draw(st.integers(first - 5, last + 5))
    stop = data.draw(st.integers(start + 1, last + 6))
    width = 2 ** data.draw(st.integers(0, 12))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.surefoot"
        writer = _write(path, run, close=close)
        with RecordReader(path) as reader:
            whole = reader.overview("grad_norm", points=points)
            part = reader.overview("grad_norm", points=points, start=start, stop=stop)
            exact = reader.overview(
                "grad_norm", points=2, start=start // width * width, width=width
            )
            assert reader.damage is None
        writer.close()
    ends = {"start": first, "stop": last + 1}
    _assert_true(whole, steps, values, **ends)
    assert len(whole.rollup.steps) <= points
    np.testing.assert_array_equal(
        np.fmax.reduce(whole.rollup.high), np.fmax.reduce(values)
    )
    np.testing.assert_array_equal(
        np.fmin.reduce(whole.rollup.low), np.fmin.reduce(values)
    )
    _assert_true(part, steps, values, start=start, stop=stop)
    assert len(part.rollup.steps) <= points
    assert exact.rollup.width == width
    _assert_true(exact, steps, values, start=start // width * width, stop=last + 1)


@pytest.mark.parametrize("spike", [np.inf, -np.inf, np.nan, 1e30])
def test_spike_of_one_step_in_a_million_survives(tmp_path, spike) -> None:
    loss = np.ones((10**6, 1), np.float32)
    loss[765_432] = spike
    with contextlib.closing(RecordWriter(tmp_path / "a.surefoot", {})) as writer:
        for at in range(0, 10**6, 10_000):
            steps = np.arange(at, at + 10_000)
            writer.append(Series("loss", ("run",), steps, loss[at : at + 10_000]))
            assert writer.flush()
    with RecordReader(tmp_path / "a.surefoot") as reader:
        for points in (100, 800, 2000):
            rolled = reader.overview("loss", points=points).rollup
            at = 765_432 // rolled.width
            assert points / 2 < len(rolled.steps) <= points
            if np.isnan(spike):
                assert np.flatnonzero(rolled.broken).tolist() == [at]
            else:
                assert spike in (rolled.low[at, 0], rolled.high[at, 0])
        near = reader.overview("loss", points=800, start=765_000, stop=766_000)
        assert near.rollup.width == 2
        assert near.rollup.steps[216] == 765_432


def test_bins_follow_the_steps_of_a_plain_run_exactly(tmp_path) -> None:
    values = _values(20_000, 3, 5, 0.01)
    steps = np.arange(20_000)
    _write(tmp_path / "a.surefoot", ([50] * 400, steps, values))
    with RecordReader(tmp_path / "a.surefoot") as reader:
        rolled = reader.overview("grad_norm", points=200).rollup
        assert rolled.width == 128
        np.testing.assert_array_equal(rolled.steps, np.arange(0, 20_000, 128))
        np.testing.assert_array_equal(
            rolled.high, np.fmax.reduceat(values, rolled.steps, axis=0)
        )
        one = reader.overview("grad_norm", points=200, layers=["b", "gone"])
        assert one.layers == ("b",)
        np.testing.assert_array_equal(one.rollup.high, rolled.high[:, 1:2])
        tail = reader.overview("grad_norm", points=9, start=19_840, width=128).rollup
        np.testing.assert_array_equal(tail.steps, rolled.steps[155:])
        np.testing.assert_array_equal(tail.low, rolled.low[155:])


def test_layers_that_change_are_put_side_by_side(tmp_path) -> None:
    with contextlib.closing(RecordWriter(tmp_path / "a.surefoot", {})) as writer:
        for first, names in ((0, "ab"), (1000, "bc"), (2000, "ab")):
            steps = np.arange(first, first + 1000)
            values = np.repeat(steps[:, None], 2, axis=1).astype(np.float32)
            writer.append(Series("grad_norm", tuple(names), steps, values))
    with RecordReader(tmp_path / "a.surefoot") as reader:
        found = reader.overview("grad_norm", points=50)
    assert found.layers == ("a", "b", "c")
    rolled = found.rollup
    assert rolled.width == 64
    ends = np.minimum(np.arange(64, 3008 + 63, 64), 3000) - 1
    # Readings 992 to 1007 of the first set are one bin: its gap is within it.
    plain = np.setdiff1d(np.arange(47), [15, 31])
    assert np.abs(rolled.high[plain, 1] - ends[plain]).max() <= 8
    assert 2007 <= rolled.high[15, 1] < 2064
    assert np.isnan(rolled.high[20:30, 0]).all()
    assert np.isnan(rolled.high[:14, 2]).all()
    assert not rolled.broken.any()


def test_steps_that_are_written_again_lose_nothing(tmp_path) -> None:
    with contextlib.closing(RecordWriter(tmp_path / "a.surefoot", {})) as writer:
        for first, value in ((0, 1), (3000, 2), (500, 9), (3500, 3)):
            steps = np.arange(first, first + 3000)
            values = np.full((3000, 1), value, np.float32)
            writer.append(Series("loss", ("run",), steps, values))
    with RecordReader(tmp_path / "a.surefoot") as reader:
        for points in (10, 100, 5000):
            found = reader.overview("loss", points=points).rollup
            assert np.all(np.diff(found.steps) > 0)
            assert (found.low.min(), found.high.max()) == (1, 9)
        part = reader.overview("loss", points=40, start=1000, stop=1600).rollup
        assert (part.low.min(), part.high.max()) == (1, 9)


def test_killed_record_has_an_overview(tmp_path, python) -> None:
    code = """
import sys, numpy as np
from surefoot.record.writer import RecordWriter
from surefoot.types import Series
writer = RecordWriter(sys.argv[1], {})
for at in range(0, 5000, 50):
    steps = np.arange(at, at + 50)
    values = steps[:, None].astype(np.float32)
    writer.append(Series("loss", ("run",), steps, values))
assert writer.flush()
print("ready", flush=True)
sys.stdin.read()
"""
    process = python(code, tmp_path / "a.surefoot")
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.wait()
    with RecordReader(tmp_path / "a.surefoot") as reader:
        rolled = reader.overview("loss", points=100).rollup
        assert reader.damage is None
    assert rolled.width == 64
    np.testing.assert_array_equal(rolled.steps, np.arange(0, 5000, 64))
    np.testing.assert_array_equal(rolled.low[:, 0], rolled.steps)


def test_record_made_anew_starts_its_overview_anew(tmp_path) -> None:
    path = tmp_path / "a.surefoot"
    writer = _write(path, ([600], np.arange(600), _values(600, 1, 0, 0)), close=False)
    path.unlink()
    later = np.arange(600, 1200)
    values = _values(600, 1, 1, 0)
    writer.append(Series("grad_norm", ("a",), later, values))
    writer.close()
    with RecordReader(path) as reader:
        rolled = reader.overview("grad_norm", points=20).rollup
        assert reader.damage is None
    assert rolled.steps[0] == 600
    assert rolled.high.max() == values.max()
    assert rolled.low.min() == values.min()


def test_damaged_rollup_gives_way_to_whole_blocks(tmp_path) -> None:
    path = tmp_path / "a.surefoot"
    values = _values(4000, 3, 3, 0.01)
    _write(path, ([50] * 80, np.arange(4000), values))
    with RecordReader(path) as reader:
        right = reader.overview("grad_norm", points=100).rollup
    whole = path.read_bytes()
    low = np.fmin.reduceat(values, np.arange(0, 4000, 32), axis=0)
    at = whole.find(low[16:20].tobytes())
    assert at > 0
    path.write_bytes(whole[:at] + b"\1\2\3\4" + whole[at + 4 :])
    with RecordReader(path) as reader:
        found = reader.overview("grad_norm", points=100).rollup
        assert "a rollup fails its checksum" in reader.damage
        np.testing.assert_array_equal(found.steps, right.steps)
        np.testing.assert_array_equal(found.low, right.low)
        np.testing.assert_array_equal(found.broken, right.broken)


def test_what_cannot_be_drawn_is_refused(tmp_path) -> None:
    _write(tmp_path / "a.surefoot", ([9], np.arange(9), _values(9, 1, 0, 0)))
    with RecordReader(tmp_path / "a.surefoot") as reader:
        with pytest.raises(ValueError, match="at least 2"):
            reader.overview("grad_norm", points=1)
        with pytest.raises(ValueError, match="power of two"):
            reader.overview("grad_norm", points=10, width=3)
        with pytest.raises(UnknownQuantityError, match="grad_norm"):
            reader.overview("lss", points=10)
        nothing = reader.overview("grad_norm", points=10, start=100)
        assert nothing.rollup.low.shape == (0, 1)
        nobody = reader.overview("grad_norm", points=10, layers=())
        assert nobody.layers == ()
        assert nobody.rollup.low.shape == (0, 0)
