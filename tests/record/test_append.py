"""A field joins a finished record: whole, sealed, seen by who reads it."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from surefoot.record.append import add_field
from surefoot.record.reader import RecordReader
from surefoot.record.schema import RecordError
from surefoot.record.writer import RecordWriter
from surefoot.types import Event, Field, Series

GOLDEN = Path(__file__).parent / "golden"


def _slice(step: int = 9, title: str = "random") -> Field:
    values = np.array([[1.5, np.nan], [0.25, 3.0]], np.float32)
    axes = {"alpha": [-1.0, 1.0], "beta": [0.0, 2.0]}
    return Field(step, "landscape", axes, values, about={"title": title})


def _written(path: Path, *fields: Field, ended: bool = True) -> RecordWriter:
    writer = RecordWriter(path, {"script": "train.py"})
    steps = np.arange(10)
    loss = np.linspace(2, 1, 10, dtype=np.float32)[:, None]
    writer.append(Series("loss", ("run",), steps, loss))
    for field in fields:
        writer.field(field)
    if ended:
        writer.event(Event(9, "end", {"status": "finished"}))
        writer.close()
    else:
        writer.flush()
    return writer


@pytest.fixture
def path(tmp_path) -> Path:
    return _written(tmp_path / "a.surefoot").path


def _found(path: Path) -> list[tuple[int, str]]:
    with RecordReader(path) as reader:
        found = reader.field_titles("landscape")
        assert reader.damage is None
        assert reader.status() == "finished"
        assert reader.series("loss").values[0, 0] == 2
        return found


def test_a_field_joins_a_record_that_stays_whole_and_one_file(path) -> None:
    add_field(path, _slice())
    add_field(path, _slice(title="path"))
    assert _found(path) == [(9, "random"), (9, "path")]
    with RecordReader(path) as reader:
        found = reader.field("landscape", title="random")
    assert found.values.tobytes() == _slice().values.tobytes()
    assert found.axes == _slice().axes
    assert sorted(one.name for one in path.parent.iterdir()) == ["a.surefoot"]


def test_a_record_with_fields_counts_on(tmp_path) -> None:
    path = _written(tmp_path / "a.surefoot", _slice(3), _slice(5)).path
    add_field(path, _slice(9))
    assert _found(path) == [(3, "random"), (5, "random"), (9, "random")]


def test_an_end_that_is_cut_off_is_still_noticed(path) -> None:
    add_field(path, _slice())
    add_field(path, _slice(title="path"))
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM field WHERE id = 2")
    with RecordReader(path) as reader:
        reader.field_titles("landscape")
        assert "fields are missing" in reader.damage


def test_who_reads_it_meanwhile_sees_no_damage(tmp_path) -> None:
    path = _written(tmp_path / "a.surefoot", _slice(3)).path
    with RecordReader(path) as reader:
        assert len(reader.field_titles("landscape")) == 1
        add_field(path, _slice(9))
        assert len(reader.field_titles("landscape")) == 2
        assert reader.field("landscape").step == 9
        assert reader.damage is None


def test_a_running_run_is_left_alone(tmp_path) -> None:
    writer = _written(tmp_path / "a.surefoot", ended=False)
    before = writer.path.read_bytes()
    with pytest.raises(RecordError, match="still being written"):
        add_field(writer.path, _slice())
    assert writer.path.read_bytes() == before
    writer.append(Series("loss", ("run",), np.arange(10, 12), np.ones((2, 1), "f4")))
    writer.close()
    assert writer.dropped == 0


def test_a_killed_run_takes_a_field(python, tmp_path) -> None:
    code = (
        "import sys, time, numpy as np\n"
        "from surefoot.record.writer import RecordWriter\n"
        "from surefoot.types import Series\n"
        "w = RecordWriter(sys.argv[1], {})\n"
        "w.append(Series('loss', ('run',), np.arange(5), np.ones((5, 1), 'f4')))\n"
        "w.flush(); print('ready', flush=True); time.sleep(60)\n"
    )
    path = tmp_path / "a.surefoot"
    process = python(code, path)
    assert process.stdout.readline()
    process.kill()
    process.wait()
    add_field(path, _slice())
    with RecordReader(path) as reader:
        assert reader.status() == "killed"
        assert reader.field("landscape").step == 9
        assert len(reader.series("loss").steps) == 5
        assert reader.damage is None


@pytest.mark.parametrize("harm", ["cut", "old", "absent", "shape"])
def test_what_cannot_take_a_field_is_refused_unchanged(path, tmp_path, harm) -> None:
    field, words = _slice(), "damaged"
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:9000])
    elif harm == "old":
        path, words = tmp_path / "v1.surefoot", "format 1, expected 2"
        shutil.copy(GOLDEN / "v1.surefoot", path)
    elif harm == "absent":
        path, words = tmp_path / "none.surefoot", "none.surefoot"
    else:
        words = "expected \\(2, 2\\)"
        field = Field(9, "landscape", field.axes, np.zeros((2, 3), np.float32))
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(RecordError, match=words):
        add_field(path, field)
    assert (path.read_bytes() if path.exists() else None) == before


def test_a_folder_that_cannot_be_written_is_told(path, monkeypatch) -> None:
    with sqlite3.connect(path) as holder:
        holder.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr("surefoot.record.schema.BUSY_SECONDS", 0.05)
        with pytest.raises(RecordError, match="another process holds a lock"):
            add_field(path, _slice())
        holder.rollback()
    assert _found(path) == []
