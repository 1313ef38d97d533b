from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest

from surefoot.record.folder import find_run, list_runs, name_of
from surefoot.record.schema import RecordError
from surefoot.record.writer import RecordWriter
from surefoot.types import Event


def _run(folder, name, block, created="2026-01-01T00:00:00+00:00", status=None):
    writer = RecordWriter(folder / f"{name}.surefoot", {"created": created})
    writer.append(block("loss", 0, 50, layers=1))
    writer.append(block("loss", 50, 10, layers=1))
    writer.append(block("metric", 70, 1))
    if status:
        writer.event(Event(60, "end", {"status": status}))
    writer.close()
    return folder / f"{name}.surefoot"


@pytest.fixture
def runs(tmp_path, block):
    """Three runs that are well, the second with a second rank."""
    names = ("deep-20260101-000000-aaaa", "deep-20260102-000000-bbbb", "wide")
    for day, name in enumerate(names, 1):
        _run(tmp_path, name, block, f"2026-01-0{day}T00:00:00+00:00", "finished")
    _run(tmp_path, "deep-20260102-000000-bbbb.rank1", block)
    (tmp_path / "notes.txt").write_text("no run")
    (tmp_path / "sub.surefoot").mkdir()
    return tmp_path


def test_listing_tells_what_each_run_is(runs, block, assert_true) -> None:
    found = list_runs(runs)
    assert [one.name for one in found] == [
        "deep-20260101-000000-aaaa",
        "deep-20260102-000000-bbbb",
        "wide",
    ]
    first = found[0]
    assert first.created == datetime(2026, 1, 1, tzinfo=UTC)
    assert first.status == "finished"
    assert first.steps == 71
    assert first.streams == ("main",)
    assert first.last_loss == pytest.approx(float(block("loss", 59, 1).values[0, 0]))
    assert first.trouble is None
    assert first.path == runs / "deep-20260101-000000-aaaa.surefoot"


def test_damaged_runs_are_listed_with_their_trouble(runs) -> None:
    (runs / "empty.surefoot").touch()
    (runs / "text.surefoot").write_text("what is this?")
    whole = (runs / "wide.surefoot").read_bytes()
    (runs / "cut.surefoot").write_bytes(whole[: len(whole) - 4096])
    (runs / "headless.surefoot").write_bytes(bytes(100) + whole[100:])
    (runs / "gone.surefoot").symlink_to(runs / "nowhere")
    by_name = {one.name: one for one in list_runs(runs)}
    assert len(by_name) == 7
    assert by_name["empty"].status == by_name["text"].status == "unreadable"
    assert "is empty" in by_name["empty"].trouble
    assert "damaged" in by_name["headless"].trouble
    assert by_name["headless"].steps == 71
    assert by_name["cut"].trouble
    assert by_name["wide"].trouble is None


def test_run_that_had_trouble_says_so(tmp_path, block) -> None:
    writer = RecordWriter(tmp_path / "a.surefoot", {})
    os.unlink(tmp_path / "a.surefoot")
    writer.append(block())
    writer.close()
    assert "was deleted" in list_runs(tmp_path)[0].trouble


def test_no_folder_holds_no_runs(tmp_path) -> None:
    assert list_runs(tmp_path / "none") == []
    assert list_runs(tmp_path) == []


def test_many_runs_are_listed_quickly(tmp_path, block) -> None:
    for index in range(40):
        _run(tmp_path, f"r{index}", block)
    assert len(list_runs(tmp_path)) == 40


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("wide", "wide"),
        ("wide.surefoot", "wide"),
        ("deep-20260101", "deep-20260101-000000-aaaa"),
        ("w", "wide"),
        ("deep-20260102-000000-bbbb", "deep-20260102-000000-bbbb"),
        ("deep-20260102", "deep-20260102-000000-bbbb"),
    ],
)
def test_run_is_found_by_name_or_beginning(runs, reference, name) -> None:
    assert name_of(find_run(reference, runs)) == name


def test_run_is_found_by_path(runs, tmp_path, monkeypatch) -> None:
    path = runs / "deep-20260102-000000-bbbb.rank1.surefoot"
    assert find_run(path, "elsewhere") == path
    assert find_run(str(path), "elsewhere") == path


def test_last_is_the_one_begun_last(runs, block) -> None:
    os.utime(runs / "wide.surefoot", (0, 0))
    os.utime(runs / "deep-20260101-000000-aaaa.surefoot")
    assert name_of(find_run("last", runs)) == "deep-20260102-000000-bbbb"


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("deep", "means several runs"),
        ("nonesuch", "is no run"),
        ("", "means several runs"),
        ("../wide", "is no run"),
    ],
)
def test_unclear_reference_lists_the_candidates(runs, reference, says) -> None:
    with pytest.raises(RecordError, match=says) as caught:
        find_run(reference, runs)
    assert "deep-20260101-000000-aaaa" in str(caught.value)
    assert ("wide" in str(caught.value).split("there:")[1]) == (reference != "deep")


@pytest.mark.parametrize("reference", ["last", "deep"])
def test_empty_folder_says_what_to_do(tmp_path, reference) -> None:
    with pytest.raises(RecordError, match="there is no record") as caught:
        find_run(reference, tmp_path)
    assert "surefoot run" in str(caught.value)
    assert str(tmp_path) in str(caught.value)
