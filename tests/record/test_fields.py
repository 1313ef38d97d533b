from __future__ import annotations

import numpy as np
import pytest

from surefoot.record.export import export
from surefoot.record.reader import RecordReader
from surefoot.record.writer import RecordWriter
from surefoot.types import Field, Series


def _field(step: int, *, kind: str = "grad_histogram", stream: str = "main") -> Field:
    values = np.random.default_rng(step).random((2, 3)).astype(np.float32)
    axes = {"layer": ("0.weight", "größer"), "bin": (-2.0, -1.5, 0.25)}
    return Field(step, kind, axes, values, stream, {"why": ["<b>", step]})


@pytest.fixture
def path(tmp_path):
    writer = RecordWriter(tmp_path / "a.surefoot", {})
    for step in (0, 1, 4, 1000):
        writer.field(_field(step))
    writer.field(_field(2, stream="critic"))
    spectrum = np.array([np.inf, np.nan], np.float32)
    writer.field(Field(7, "spectrum", {"eigenvalue": [0, 1]}, spectrum))
    writer.append(Series("loss", ("run",), np.arange(3), np.ones((3, 1), np.float32)))
    assert writer.dropped == 0
    writer.close()
    return writer.path


def test_fields_come_back_bit_for_bit(path) -> None:
    with RecordReader(path) as reader:
        for step, expected in ((None, 1000), (3, 1), (4, 4), (999, 4), (5000, 1000)):
            found = reader.field("grad_histogram", step=step)
            wanted = _field(expected)
            assert found.step == expected
            assert found.values.tobytes() == wanted.values.tobytes()
            assert found.values.dtype == np.float32
            assert {name: tuple(ticks) for name, ticks in found.axes.items()} == (
                wanted.axes
            )
            assert list(found.axes) == ["layer", "bin"]
            assert found.about == wanted.about
        assert reader.field("spectrum").values.tobytes() == (
            np.array([np.inf, np.nan], np.float32).tobytes()
        )
        assert reader.field("grad_histogram", "critic").step == 2
        assert reader.field("grad_histogram", step=-1) is None
        assert reader.field("landscape") is None


def test_titles_tell_fields_of_one_step_apart(tmp_path) -> None:
    writer = RecordWriter(tmp_path / "a.surefoot", {})
    told = ((5, "a", 1.0), (5, "b", 2.0), (5, "", 3.0), (7, "a", 4.0), (5, "a", 5.0))
    for step, title, value in told:
        values = np.array([value, 0], np.float32)
        about = {"title": title} if title else {}
        axes = {"alpha": [0, 1]}
        writer.field(Field(step, "landscape", axes, values, about=about))
    writer.close()
    with RecordReader(writer.path) as reader:
        assert reader.field_titles("landscape") == [
            (5, "a"), (5, "b"), (5, ""), (7, "a"),
        ]  # fmt: skip
        asked = ((5, "a", 5.0), (5, "b", 2.0), (5, "", 3.0), (9, "a", 4.0))
        for step, title, value in asked:
            found = reader.field("landscape", step=step, title=title)
            assert found.values[0] == value
        assert reader.field("landscape", title="c") is None
        assert reader.field("landscape", step=6).values[0] == 5.0
        assert reader.field_titles("spectrum") == []


def test_index_says_where_fields_are(path) -> None:
    layers = ("0.weight", "größer")
    with RecordReader(path) as reader:
        assert reader.field_index() == [
            *(("grad_histogram", "main", step, layers) for step in (0, 1, 4, 1000)),
            ("grad_histogram", "critic", 2, layers),
            ("spectrum", "main", 7, ()),
        ]


def test_index_of_a_live_record_grows(tmp_path) -> None:
    writer = RecordWriter(tmp_path / "a.surefoot", {})
    writer.field(_field(0))
    assert writer.flush()
    with RecordReader(writer.path) as reader:
        assert len(reader.field_index()) == 1
        writer.field(_field(8))
        assert writer.flush()
        assert [step for _, _, step, _ in reader.field_index()] == [0, 8]
        assert reader.field("grad_histogram").step == 8
    writer.close()


def test_field_that_does_not_fit_its_axes_is_told_and_left_out(tmp_path) -> None:
    writer = RecordWriter(tmp_path / "a.surefoot", {})
    writer.field(Field(0, "landscape", {"alpha": [1, 2]}, np.zeros(3, np.float32)))
    assert writer.dropped == 1
    assert "expected (2,), the lengths of its axes" in writer.trouble
    writer.close()
    with RecordReader(writer.path) as reader:
        assert reader.field_index() == []


def test_whole_fields_of_a_damaged_record_are_saved(path) -> None:
    whole = path.read_bytes()
    at = whole.find(_field(4).values.tobytes())
    assert at > 0
    path.write_bytes(whole[:at] + b"\1\2\3\4" + whole[at + 4 :])
    with RecordReader(path) as reader:
        assert len(reader.field_index()) == 6
        assert reader.field("grad_histogram", step=3).step == 1
        assert reader.field("grad_histogram", step=5) is None
        assert "a field fails its checksum" in reader.damage
        assert [one[2] for one in reader.field_index()] == [0, 1, 1000, 2, 7]
        assert reader.field("grad_histogram", step=5).step == 1


def test_exports_leave_fields_out(path, tmp_path) -> None:
    with RecordReader(path) as reader:
        export(reader, "csv", tmp_path / "a.csv")
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 4
