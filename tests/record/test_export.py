from __future__ import annotations

import csv
import importlib
import math
import struct
import tracemalloc

import numpy as np
import pyarrow.parquet
import pytest
from tensorboard.compat.proto.event_pb2 import Event as BoardEvent

from surefoot.record.export import COLUMNS, FORMATS, export
from surefoot.record.reader import RecordReader
from surefoot.record.schema import RecordError
from surefoot.record.writer import RecordWriter
from surefoot.types import Series

ODD = 'net.0,"weight"\n ü'


@pytest.fixture
def record(tmp_path):
    """Two streams with odd names and values; the layer set changes once."""
    writer = RecordWriter(tmp_path / "a.surefoot", {})
    random = np.random.default_rng(0)

    def put(stream: str, quantity: str, layers: tuple[str, ...], first: int) -> None:
        values = random.standard_normal((50, len(layers))).astype(np.float32)
        values[3] = np.nan
        values[4] = np.inf
        values[5] = 1e-42
        steps = np.arange(first, first + 500, 10)
        writer.append(Series(quantity, layers, steps, values, stream))

    for first in (0, 500):
        put("main", "loss", ("run",), first)
        put("main", "grad_norm", (ODD, "b"), first)
        put("critic/1", "loss", ("run",), first)
    put("main", "grad_norm", (ODD,), 1000)
    writer.close()
    with RecordReader(tmp_path / "a.surefoot") as reader:
        yield reader


def _truth(reader: RecordReader) -> dict[tuple[str, str, str, int], float]:
    found: dict[tuple[str, str, str, int], float] = {}
    for stream in reader.streams():
        for quantity in reader.quantities(stream):
            for block in reader.blocks(quantity, stream):
                for step, row in zip(block.steps.tolist(), block.values, strict=True):
                    for layer, value in zip(block.layers, row, strict=True):
                        found[stream, quantity, layer, step] = float(value)
    assert len(found) == 50 * (2 + 4 + 2 + 1)
    return found


def _same(found: dict, truth: dict) -> None:
    assert found.keys() == truth.keys()
    for key, value in truth.items():
        same = np.float32(found[key]) == np.float32(value)
        assert same or (math.isnan(value) and math.isnan(found[key])), key


def test_csv_reads_back(record, tmp_path) -> None:
    out = export(record, "csv", tmp_path / "new" / "a.csv")
    with out.open(newline="", encoding="utf-8") as file:
        table = list(csv.reader(file))
    assert tuple(table[0]) == COLUMNS
    found = {(s, q, layer, int(step)): float(v) for s, q, layer, step, v in table[1:]}
    assert len(found) == len(table) - 1
    _same(found, _truth(record))


def test_parquet_reads_back(record, tmp_path) -> None:
    out = export(record, "parquet", tmp_path / "a.parquet")
    table = pyarrow.parquet.read_table(out)
    assert tuple(table.column_names) == COLUMNS
    found = {
        (row["stream"], row["quantity"], row["layer"], row["step"]): row["value"]
        for row in table.to_pylist()
    }
    assert len(found) == table.num_rows
    _same(found, _truth(record))


def _board_events(path):
    """Events of one TensorBoard file: frames of length, CRC, data, CRC."""
    data = path.read_bytes()
    at = 0
    while at < len(data):
        (size,) = struct.unpack_from("<Q", data, at)
        yield BoardEvent.FromString(data[at + 12 : at + 12 + size])
        at += 16 + size


def test_tensorboard_reads_back(record, tmp_path) -> None:
    out = export(record, "tensorboard", tmp_path / "board")
    found = {}
    for folder, stream in (("main", "main"), ("critic_1", "critic/1")):
        (file,) = (out / folder).iterdir()
        for event in _board_events(file):
            for value in event.summary.value:
                quantity, layer = value.tag.split("/", 1)
                found[stream, quantity, layer, event.step] = value.simple_value
    _same(found, _truth(record))


def test_csv_needs_little_memory(tmp_path) -> None:
    writer = RecordWriter(tmp_path / "a.surefoot", {})
    layers = tuple(f"l{i}" for i in range(20))
    for first in range(0, 5000, 50):
        steps = np.arange(first, first + 50)
        writer.append(Series("q", layers, steps, np.ones((50, 20), np.float32)))
    writer.close()
    with RecordReader(tmp_path / "a.surefoot") as reader:
        tracemalloc.start()
        out = export(reader, "csv", tmp_path / "a.csv")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert out.stat().st_size > 1.4e6
    assert peak < 1e6  # 64 blocks of 4 kB are held at once; all rows would be 15 MB


def test_unknown_format_lists_the_known(record, tmp_path) -> None:
    with pytest.raises(RecordError, match="'xls'") as caught:
        export(record, "xls", tmp_path / "a.xls")
    assert all(name in str(caught.value) for name in FORMATS)


@pytest.mark.parametrize(
    ("to", "package"), [("parquet", "pyarrow"), ("tensorboard", "tensorboard")]
)
def test_missing_package_says_what_to_install(
    record, tmp_path, monkeypatch, to, package
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(RecordError) as caught:
        export(record, to, tmp_path / "a")
    assert f"pip install 'surefoot[{to}]'" in str(caught.value)
    assert package in str(caught.value)


@pytest.mark.parametrize("to", FORMATS)
def test_place_that_cannot_be_written_is_a_clear_error(record, tmp_path, to) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RecordError, match="cannot be written") as caught:
        export(record, to, tmp_path / "file" / "a")
    assert str(tmp_path / "file" / "a") in str(caught.value)
