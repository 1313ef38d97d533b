"""Old files open: one golden record of each format, with the numbers it holds."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np

from surefoot.record.folder import list_runs
from surefoot.record.reader import RecordReader
from surefoot.record.schema import FORMAT_VERSION
from surefoot.types import Event, Module, Parameter

GOLDEN = Path(__file__).parent / "golden"


def _assert_v1(reader: RecordReader) -> None:
    assert reader.damage is None
    assert reader.meta["script"] == "train.py"
    assert reader.meta["argv"] == ["--lr", "0.1"]
    assert reader.status() == "failed"
    assert reader.streams() == ("main", "critic")
    assert reader.quantities() == ("loss", "grad_norm")
    assert reader.last_step() == 199
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


def test_what_is_written_now_equals_the_newest(tmp_path) -> None:
    place = GOLDEN / "make_golden.py"
    spec = importlib.util.spec_from_file_location("make_golden", place)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.written(tmp_path / "now.surefoot")
    with RecordReader(tmp_path / "now.surefoot") as reader:
        _assert_v1(reader)
