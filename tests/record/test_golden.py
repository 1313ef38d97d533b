"""Old files open: one golden record of each format, with the numbers it holds."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np

from surefoot.record.folder import list_runs
from surefoot.record.reader import RecordReader
from surefoot.record.rollup import Rollup
from surefoot.record.schema import FORMAT_VERSION
from surefoot.types import Event, Module, Parameter, Series

GOLDEN = Path(__file__).parent / "golden"


def _assert_v1(reader: RecordReader) -> None:
    assert reader.damage is None
    assert reader.meta["script"] == "train.py"
    assert reader.meta["argv"] == ["--lr", "0.1"]
    assert reader.status() == "failed"
    assert reader.streams() == ("main", "critic")
    assert reader.quantities()[:2] == ("loss", "grad_norm")
    assert reader.last_step(quantity="loss") == 199
    _assert_v1_readings(reader)
    assert reader.events() == [
        Event(0, "start", {"script": "train.py"}),
        Event(150, "note", {"text": "größer"}, stream="critic"),
        Event(199, "end", {"status": "failed", "error": "ValueError: 3"}),
    ]
    facts = reader.facts()
    assert facts["critic"].optimizer == "Adam"
    assert facts["main"].options == {"lr": 0.1, "momentum": 0.9, "nesterov": False}
    assert facts["main"].parameters == (
        Parameter("0.weight", "0", 12),
        Parameter("0.bias", "0", 3, held=False),
    )
    assert facts["main"].modules == (Module("0", "Linear"), Module("1", "Sigmoid"))
    assert facts["main"].unseen == ("module 2 was never called",)


def _assert_v1_readings(reader: RecordReader) -> None:
    loss = reader.series("loss")
    steps = np.arange(200)
    expected = (2.0 / (1.0 + steps)).astype(np.float32)
    expected[198:] = np.inf, np.nan
    np.testing.assert_array_equal(loss.steps, steps)
    np.testing.assert_array_equal(loss.of("run"), expected)
    critic = reader.series("loss", "critic", start=9, stop=10)
    assert critic.of("run").tolist() == [np.float32(0.2) + np.float32(1)]
    norms = reader.series("grad_norm")
    assert norms.layers == ("0.weight", "0.bias")
    assert norms.steps.tolist() == [0, 10, 15, 20, 30]
    assert norms.of("0.weight").tolist() == [0.5, 1.5, 2.5, 0.5, 1.5]
    np.testing.assert_array_equal(
        norms.of("0.bias"), [0.25, 1.25, 2.25, np.nan, np.nan]
    )


def _assert_v2(reader: RecordReader) -> None:
    """What format 1 holds, fields, and a series that is long enough for rollups."""
    _assert_v1(reader)
    assert reader.quantities() == ("loss", "grad_norm", "lr")
    assert reader.last_step() == 8990
    _assert_v2_fields(reader)
    for points in (10, 100, 1000):
        seen = reader.overview("lr", points=points)
        _assert_extremes(seen.rollup, reader.series("lr"))
    assert seen.layers == ("group 0", "group 1")
    near = reader.overview("lr", points=100, start=500, stop=540, layers=["group 1"])
    assert near.rollup.width == 1
    assert near.rollup.high[17, 0] == np.float32(1e30)


def _assert_extremes(rolled: Rollup, series: Series) -> None:
    np.testing.assert_array_equal(
        np.fmax.reduce(rolled.high), np.fmax.reduce(series.values)
    )
    np.testing.assert_array_equal(
        np.fmin.reduce(rolled.low), np.fmin.reduce(series.values)
    )
    assert rolled.broken.sum(axis=0).tolist() == [1, 0]


def _assert_v2_fields(reader: RecordReader) -> None:
    layers = ("0.weight", "0.bias")
    assert reader.field_index() == [
        ("grad_histogram", "main", 0, layers),
        ("grad_histogram", "main", 64, layers),
        ("landscape", "critic", 150, ()),
    ]
    found = reader.field("grad_histogram", step=63)
    assert (found.step, found.about) == (0, {"of": 4096})
    assert found.axes == {"layer": list(layers), "bin": [-2.0, -1.0, 0.0]}
    assert found.values.tolist() == [[0, 1, 2], [3, 4, 5]]
    surface = reader.field("landscape", "critic")
    np.testing.assert_array_equal(surface.values, [[3, 4], [np.nan, 1], [np.inf, 2]])


def test_there_is_a_golden_record_of_each_format() -> None:
    names = {path.name for path in GOLDEN.glob("*.surefoot")}
    assert names == {f"v{version + 1}.surefoot" for version in range(FORMAT_VERSION)}


def test_format_1_opens() -> None:
    path = GOLDEN / "v1.surefoot"
    assert path.stat().st_size < 50_000
    with RecordReader(path) as reader:
        _assert_v1(reader)
    assert sorted(one.name for one in GOLDEN.glob("v1*")) == ["v1.surefoot"]


def test_format_1_is_rescued(tmp_path) -> None:
    data = (GOLDEN / "v1.surefoot").read_bytes()
    (tmp_path / "a.surefoot").write_bytes(bytes(100) + data[100:])
    with RecordReader(tmp_path / "a.surefoot") as reader:
        assert reader.damage is not None
        _assert_v1_readings(reader)


def test_format_1_is_listed(tmp_path) -> None:
    shutil.copy(GOLDEN / "v1.surefoot", tmp_path)
    (found,) = list_runs(tmp_path)
    assert (found.steps, found.status, found.trouble) == (200, "failed", None)
    assert np.isnan(found.last_loss)


def test_format_1_has_an_overview() -> None:
    with RecordReader(GOLDEN / "v1.surefoot") as reader:
        rolled = reader.overview("loss", points=100).rollup
        assert rolled.width == 2
        assert rolled.high[0, 0] == 2
        assert rolled.low[0, 0] == 1
        assert np.flatnonzero(rolled.broken).tolist() == [99]
        assert reader.field_index() == []
        assert reader.field("grad_histogram") is None


def test_format_2_opens() -> None:
    path = GOLDEN / "v2.surefoot"
    assert path.stat().st_size < 80_000
    with RecordReader(path) as reader:
        _assert_v2(reader)
    assert sorted(one.name for one in GOLDEN.glob("v2*")) == ["v2.surefoot"]


def test_format_2_is_rescued(tmp_path) -> None:
    data = (GOLDEN / "v2.surefoot").read_bytes()
    (tmp_path / "a.surefoot").write_bytes(bytes(100) + data[100:])
    with RecordReader(tmp_path / "a.surefoot") as reader:
        assert reader.damage is not None
        _assert_v1_readings(reader)
        _assert_v2_fields(reader)
        _assert_extremes(reader.overview("lr", points=100).rollup, reader.series("lr"))


def test_what_is_written_now_equals_the_newest(tmp_path) -> None:
    place = GOLDEN / "make_golden_v2.py"
    spec = importlib.util.spec_from_file_location("make_golden", place)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.written(tmp_path / "now.surefoot")
    with RecordReader(tmp_path / "now.surefoot") as reader:
        _assert_v2(reader)
