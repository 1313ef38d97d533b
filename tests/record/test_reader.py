from __future__ import annotations

import time

import numpy as np
import pytest

from surefoot.record.reader import RecordReader, UnknownQuantityError
from surefoot.record.schema import RecordError
from surefoot.record.writer import RecordWriter
from surefoot.types import Event, Facts, Series


@pytest.fixture
def record(tmp_path, block):
    """Two streams; steps 0 to 499 of each quantity in blocks of 50."""
    path = tmp_path / "net.surefoot"
    streams = {"main": Facts(optimizer="SGD"), "critic": {"optimizer": "Adam"}}
    writer = RecordWriter(path, {"streams": streams})
    for first in range(0, 500, 50):
        writer.append(block("loss", first, layers=1))
        writer.append(block("grad_norm", first))
        writer.append(block("critic_loss", first, layers=1, stream="critic"))
    writer.event(Event(7, "note", {"text": "a"}))
    writer.event(Event(9, "note", {"text": "b"}, stream="critic"))
    writer.event(Event(499, "end", {"status": "interrupted"}))
    writer.close()
    return path


def test_what_there_is(record, read) -> None:
    reader = read(record)
    assert reader.streams() == ("main", "critic")
    assert reader.quantities() == ("loss", "grad_norm")
    assert reader.quantities("critic") == ("critic_loss",)
    assert reader.quantities("nobody") == ()
    assert reader.has("loss")
    assert not reader.has("loss", "critic")
    assert reader.last_step() == reader.last_step("critic") == 499
    assert reader.last_step("nobody") is None
    assert reader.last_step("main", "critic_loss") is None
    assert reader.status() == "interrupted"
    assert {name: f.optimizer for name, f in reader.facts().items()} == {
        "main": "SGD",
        "critic": "Adam",
    }
    assert set(reader.meta) == {"created", "surefoot", "streams", "writer"}


def test_events_by_kind_and_stream(record, read) -> None:
    reader = read(record)
    assert [event.step for event in reader.events()] == [7, 9, 499]
    assert [event.step for event in reader.events(kind="note")] == [7, 9]
    assert [event.step for event in reader.events(stream="critic")] == [9]
    assert reader.events(kind="note", stream="nobody") == []


@pytest.mark.parametrize(
    ("start", "stop"),
    [(None, 10), (10, None), (49, 51), (120, 380), (0, 500), (-5, 1), (499, 9999)],
)
def test_part_of_a_series(record, read, assert_true, start, stop) -> None:
    series = read(record).series("grad_norm", start=start, stop=stop)
    every = np.arange(500)
    wanted = every[(every >= (start or 0)) & (every < (500 if stop is None else stop))]
    np.testing.assert_array_equal(series.steps, wanted)
    assert_true(series)


@pytest.mark.parametrize(
    ("start", "stop"), [(600, None), (None, 0), (20, 20), (30, 20)]
)
def test_empty_part_keeps_its_layers(record, read, start, stop) -> None:
    series = read(record).series("grad_norm", start=start, stop=stop)
    assert series.values.shape == (0, 4)
    assert series.values.dtype == np.float32
    assert series.steps.dtype == np.int64
    assert series.layers[3] == "net.3.weight"


def test_unknown_quantity_lists_the_known(record, read) -> None:
    reader = read(record)
    for kind in (RecordError, KeyError, UnknownQuantityError):
        with pytest.raises(kind, match="grad_nrom"):
            reader.series("grad_nrom")
    with pytest.raises(RecordError) as caught:
        reader.series("loss", "critic")
    text = str(caught.value)
    assert "recorded there: critic_loss" in text
    assert "streams: critic, main" in text
    assert "second_moment_ratio" in text
    assert not text.startswith(("'", '"'))
    with pytest.raises(RecordError):
        next(reader.blocks("none"))


def test_layers_that_come_and_go_are_merged(tmp_path, read) -> None:
    writer = RecordWriter(tmp_path / "a.surefoot", {})

    def put(layers: str, first: int, value: float) -> None:
        steps = np.arange(first, first + 2)
        values = np.full((2, len(layers)), value, np.float32)
        writer.append(Series("q", tuple(layers), steps, values))

    put("ab", 0, 1)
    put("bc", 2, 2)
    put("ab", 4, 3)
    writer.close()
    series = read(tmp_path / "a.surefoot").series("q")
    nan = np.nan
    assert series.layers == ("a", "b", "c")
    assert series.steps.tolist() == [0, 1, 2, 3, 4, 5]
    expected = [[1, 1, nan]] * 2 + [[nan, 2, 2]] * 2 + [[3, 3, nan]] * 2
    np.testing.assert_array_equal(series.values, expected)


def test_later_reading_of_a_step_stays(tmp_path, read) -> None:
    writer = RecordWriter(tmp_path / "a.surefoot", {})
    for first, value in ((0, 1.0), (10, 2.0), (5, 3.0)):
        steps = np.arange(first, first + 10)
        writer.append(
            Series("loss", ("run",), steps, np.full((10, 1), value, np.float32))
        )
    writer.close()
    series = read(tmp_path / "a.surefoot").series("loss")
    assert series.steps.tolist() == list(range(20))
    assert series.of("run").tolist() == [1.0] * 5 + [3.0] * 10 + [2.0] * 5


def test_not_a_number_and_infinities_come_back(tmp_path, read) -> None:
    writer = RecordWriter(tmp_path / "a.surefoot", {})
    values = np.array([[np.nan], [np.inf], [-np.inf], [1e-45]], np.float32)
    writer.append(Series("loss", ("run",), np.arange(4), values))
    writer.close()
    series = read(tmp_path / "a.surefoot").series("loss")
    np.testing.assert_array_equal(series.values, values)


def test_last_end_decides_the_status(tmp_path, read) -> None:
    writer = RecordWriter(tmp_path / "a.surefoot", {})
    reader = read(tmp_path / "a.surefoot")
    for told, expected in [
        ("finished", "finished"),
        ("interrupted", "interrupted"),
        ("failed", "failed"),
        (None, "failed"),
    ]:
        writer.event(Event(0, "end", {"status": told}))
        writer.flush()
        assert reader.status() == expected
    writer.close()


def test_closed_reader_says_so(record) -> None:
    with RecordReader(record) as reader:
        pass
    with pytest.raises(RecordError, match="was closed"):
        reader.series("loss")


def test_reading_a_long_run_is_quick(tmp_path) -> None:
    path = tmp_path / "a.surefoot"
    writer = RecordWriter(path, {})
    layers = tuple(f"net.{i}.weight" for i in range(200))
    values = np.random.default_rng(0).random((50, 200), np.float32)
    for first in range(0, 100_000, 50):
        writer.append(Series("grad_norm", layers, np.arange(first, first + 50), values))
        if first % 10_000 == 0:
            writer.flush()
    writer.close()
    assert writer.dropped == 0
    assert path.stat().st_size < 105e6  # readings 80 MB, rollups a quarter
    spent: list[float] = []
    for _ in range(2):
        begun = time.process_time()
        with RecordReader(path) as reader:
            series = reader.series("grad_norm")
        spent.append(time.process_time() - begun)
    assert series.values.shape == (100_000, 200)
    np.testing.assert_array_equal(series.values[-50:], values)
    # 0.06 to 0.33 s of CPU were measured; a loop over steps would take 10 times that.
    assert min(spent) < 1.0
