from __future__ import annotations

import contextlib

import numpy as np
import pytest

from surefoot.diagnosis.examine import judge, streams
from surefoot.diagnosis.extent import extent, left_out, read
from surefoot.record.reader import RecordReader
from surefoot.record.writer import RecordWriter
from surefoot.types import Series

STEPS, LAYERS = 5000, 8
NAMES = tuple(f"{at}.weight" for at in range(LAYERS))
WHOLE = STEPS * (1 + LAYERS) + STEPS // 10 * LAYERS
"""Readings of the record below: loss and norms at each step, weights at each tenth."""


@pytest.fixture
def path(tmp_path):
    random = np.random.default_rng(0)
    path = tmp_path / "a.surefoot"
    with contextlib.closing(RecordWriter(path, {})) as writer:
        for first in range(0, STEPS, 50):
            steps = np.arange(first, first + 50)
            loss = (2 + random.random((50, 1)) * 0.1).astype(np.float32)
            norms = random.lognormal(sigma=0.1, size=(50, LAYERS)).astype(np.float32)
            if first == STEPS - 100:
                loss[10] = norms[10] = np.nan
            writer.append(Series("loss", ("run",), steps, loss))
            writer.append(Series("grad_norm", NAMES, steps, norms))
            writer.append(Series("weight_norm", NAMES, steps[::10], norms[::10]))
    return path


def test_a_record_that_fits_is_read_whole(path) -> None:
    with RecordReader(path) as reader:
        assert extent(reader).spans == ()
        assert left_out(reader) == ""
        assert extent(reader, most_values=WHOLE).spans == ()
        series = read(reader, "main", extent(reader))
        assert series["grad_norm"].values.shape == (STEPS, LAYERS)


@pytest.mark.parametrize("share", [0.9, 0.5, 0.25])
def test_beginning_and_end_of_a_long_record_fit(path, share: float) -> None:
    most = int(WHOLE * share)
    with RecordReader(path) as reader:
        seen = extent(reader, most_values=most)
        series = read(reader, "main", seen)
        whole = reader.series("grad_norm")
    held = sum(one.values.size for one in series.values())
    assert 0.7 * most < held <= most
    early, late = seen.spans
    assert (early.start, late.stop) == (0, STEPS)
    assert len(late) == pytest.approx(2 * len(early), abs=2)
    norms = series["grad_norm"]
    expected = np.r_[early.start : early.stop, late.start : late.stop]
    np.testing.assert_array_equal(norms.steps, expected)
    np.testing.assert_array_equal(norms.values, whole.values[expected])
    assert series["weight_norm"].steps.max() == STEPS - 10


def test_narrow_quantities_are_read_whole_where_they_take_little(tmp_path) -> None:
    wide = tuple(f"{at}.weight" for at in range(100))
    steps = np.arange(400)
    with contextlib.closing(RecordWriter(tmp_path / "a.surefoot", {})) as writer:
        for part in np.split(steps, 20):
            rows = np.ones((20, 100), np.float32)
            writer.append(Series("grad_norm", wide, part, rows))
            writer.append(Series("loss", ("run",), part, rows[:, :1]))
    with RecordReader(tmp_path / "a.surefoot") as reader:
        seen = extent(reader, most_values=20_000)
        assert seen.cut == {"grad_norm"}
        series = read(reader, "main", seen)
    assert len(series["loss"].steps) == 400
    assert 100 < len(series["grad_norm"].steps) <= 196


def test_what_was_left_out_is_said(path) -> None:
    with RecordReader(path) as reader:
        seen = extent(reader, most_values=30_000)
        early, late = seen.spans
        assert left_out(reader, most_values=30_000) == (
            "The record is long: of grad_norm, loss, weight_norm steps "
            f"0 to {early.stop - 1} and {late.start} to 4999 of 5000 were looked at."
        )


def test_trouble_at_the_end_is_found_in_an_excerpt(path) -> None:
    with RecordReader(path) as reader:
        findings, diagnoses = judge(streams(reader, most_values=30_000))
        found = {one.signature: one.onset for one in findings}
        assert found["nonfinite"] == STEPS - 90
        assert diagnoses
        whole, _ = judge(streams(reader))
        assert (
            found["nonfinite"]
            == {one.signature: one.onset for one in whole}["nonfinite"]
        )
