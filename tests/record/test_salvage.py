"""A damaged record gives back every whole row, no wrong one, and says what it is."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from surefoot.record.reader import RecordReader
from surefoot.record.salvage import UNNAMED
from surefoot.record.schema import FORMAT_VERSION, RecordError
from surefoot.record.writer import RecordWriter
from surefoot.types import Event, Series

PAGE = 4096
BLOCKS = 40
EVENTS = 60
QUANTITIES = {"loss": 1, "grad_norm": 30, "lr": 2}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> bytes:
    """A closed record of three quantities, 40 blocks of 50 steps each."""
    path = tmp_path_factory.mktemp("pristine") / "a.surefoot"
    writer = RecordWriter(path, {"script": "x.py", "about": "y" * 9000})
    for index in range(BLOCKS):
        steps = np.arange(index * 50, index * 50 + 50)
        for quantity, layers in QUANTITIES.items():
            names = tuple(f"net.{i}.weight" for i in range(layers))
            grid = steps[:, None] * 1000.0 + np.arange(layers) + len(quantity)
            values = np.sin(grid).astype(np.float32)
            writer.append(Series(quantity, names, steps, values))
    for step in range(EVENTS):
        writer.event(Event(step, "note", {"text": f"event {step}" * 9}))
    writer.close()
    return path.read_bytes()


@dataclass
class Outcome:
    blocks: dict[str, int]
    events: int
    damage: str | None

    @property
    def complete(self) -> bool:
        return self.events == EVENTS and self.blocks == dict.fromkeys(
            QUANTITIES, BLOCKS
        )


def _outcome(path: Path, check: Callable[[Series], None]) -> Outcome:
    """What the record gives; fails if any of it is wrong."""
    with RecordReader(path) as reader:
        blocks = dict.fromkeys(QUANTITIES, 0)
        for quantity in reader.quantities():
            if quantity not in QUANTITIES:  # only its name is lost
                assert reader.damage is not None
                number = int(quantity.removeprefix(UNNAMED))
                series = _renamed(reader.series(quantity), list(QUANTITIES)[number - 1])
                check(series)
                blocks[series.quantity] = len(series.steps) // 50
                continue
            last = reader.last_step("main", quantity)
            series = reader.series(quantity)
            check(series)
            assert len(series.layers) == QUANTITIES[quantity]
            assert reader.damage or last == series.steps[-1]
            blocks[quantity] = len(series.steps) // 50
        events = reader.events()
        for event in events:
            assert event.body == {"text": f"event {event.step}" * 9}
        reader.status()
        assert all(isinstance(key, str) for key in reader.meta)
        return Outcome(blocks, len(events), reader.damage)


def test_whole_file_has_no_damage(pristine, tmp_path, assert_true) -> None:
    path = tmp_path / "a.surefoot"
    path.write_bytes(pristine)
    outcome = _outcome(path, assert_true)
    assert outcome.complete
    assert outcome.damage is None


def test_truncated_file_gives_what_is_before_the_cut(
    pristine, tmp_path, assert_true
) -> None:
    path = tmp_path / "a.surefoot"
    found: list[int] = []
    offsets = [
        *range(1, len(pristine), 9973),
        *range(len(pristine) - 4100, len(pristine), 511),
    ]
    for offset in offsets:
        path.write_bytes(pristine[:offset])
        outcome = _outcome_or_error(path, assert_true)
        if outcome is None:
            assert offset < 4 * PAGE
            continue
        found.append(sum(outcome.blocks.values()))
        assert outcome.damage is not None
        assert str(path) in outcome.damage
    assert max(found) > 100
    assert sorted(found[:-9]) == found[:-9]


def _outcome_or_error(path: Path, check: Callable[[Series], None]) -> Outcome | None:
    """None where nothing can be read; then the error names the file."""
    try:
        return _outcome(path, check)
    except RecordError as error:
        if str(path) in str(error) and "expected" in str(error):
            return None
        raise


def _renamed(series: Series, quantity: str) -> Series:
    return Series(quantity, series.layers, series.steps, series.values)


def _hit(pristine: bytes, chance: random.Random) -> tuple[bytes, int]:
    """The file with one place overwritten; and how many pages that touches."""
    start = chance.randrange(len(pristine))
    size = min(chance.choice([1, 1, 8, 100, PAGE]), len(pristine) - start)
    junk = chance.choice([chance.randbytes(size), bytes(size), b"\xff" * size])
    data = pristine[:start] + junk + pristine[start + size :]
    return data, (start + size - 1) // PAGE - start // PAGE + 1


def test_one_bad_place_costs_only_what_it_touches(
    pristine, tmp_path, assert_true
) -> None:
    chance = random.Random(7)
    path = tmp_path / "a.surefoot"
    silent = 0
    for _ in range(400):
        data, pages = _hit(pristine, chance)
        path.write_bytes(data)
        outcome = _outcome(path, assert_true)
        # A page holds at most 17 rows of `loss`, the shortest: 200 bytes and more.
        lost = {name: BLOCKS - found for name, found in outcome.blocks.items()}
        assert sum(lost.values()) <= 17 * pages, lost
        if not outcome.complete:
            assert outcome.damage is not None
            assert str(path) in outcome.damage
        silent += outcome.damage is None
    assert silent < 250  # most hits are noticed; free space is no loss


def test_many_bad_places_never_give_a_wrong_number(
    pristine, tmp_path, assert_true
) -> None:
    chance = random.Random(11)
    path = tmp_path / "a.surefoot"
    for _ in range(100):
        data = pristine
        for _ in range(chance.randint(2, 40)):
            data, _ = _hit(data, chance)
        path.write_bytes(data)
        outcome = _outcome_or_error(path, assert_true)
        assert outcome is None or outcome.complete or outcome.damage is not None


def test_readings_whose_name_is_lost_are_kept(pristine, tmp_path, assert_true) -> None:
    path = tmp_path / "a.surefoot"
    path.write_bytes(pristine.replace(b"net.7.weight", b"net.X.weight"))
    outcome = _outcome(path, assert_true)
    assert outcome.complete  # found under another name, and checked
    with RecordReader(path) as reader:
        reader.events()
        assert reader.quantities() == ("loss", f"{UNNAMED}2", "lr")
        assert reader.series(f"{UNNAMED}2").layers[29] == "layer 29"


def test_broken_header_costs_nothing(pristine, tmp_path, assert_true) -> None:
    path = tmp_path / "a.surefoot"
    for offset in range(100):
        for value in (pristine[offset] ^ 0xFF, 2 * pristine[offset] & 0xFF, 1):
            data = pristine[:offset] + bytes([value]) + pristine[offset + 1 :]
            if offset == 63:
                continue  # a newer format: told by a test of its own
            path.write_bytes(data)
            assert _outcome(path, assert_true).complete, (offset, value)


@pytest.mark.parametrize("page", range(8))
def test_no_page_is_indispensable(pristine, tmp_path, assert_true, page) -> None:
    path = tmp_path / "a.surefoot"
    data = bytearray(pristine)
    data[page * PAGE : (page + 1) * PAGE] = bytes(PAGE)
    path.write_bytes(data)
    outcome = _outcome(path, assert_true)
    assert sum(outcome.blocks.values()) >= 3 * BLOCKS - 12


def test_damage_with_a_journal_uses_the_newer_pages(
    tmp_path, block, assert_true
) -> None:
    path, copy = tmp_path / "a.surefoot", tmp_path / "b.surefoot"
    writer = RecordWriter(path, {})
    for first in range(0, 500, 50):
        writer.append(block(first=first))
        writer.flush()
    copy.write_bytes(b"\0" * 100 + path.read_bytes()[100:])
    Path(f"{copy}-wal").write_bytes(Path(f"{path}-wal").read_bytes())
    writer.close()
    with RecordReader(copy) as reader:
        series = reader.series("grad_norm")
        assert len(series.steps) == 500
        assert_true(series)
        assert reader.damage is not None


# --- no record at all -------------------------------------------------------------


def _not_a_record(path: Path) -> None:
    with pytest.raises(RecordError) as caught:
        RecordReader(path)
    text = str(caught.value)
    assert str(path) in text
    assert "expected" in text
    assert "sqlite3" not in text


def test_what_is_no_record_is_a_clear_error(tmp_path) -> None:
    _not_a_record(tmp_path / "missing.surefoot")
    _not_a_record(tmp_path)
    (tmp_path / "folder.surefoot").mkdir()
    _not_a_record(tmp_path / "folder.surefoot")
    for name, content in {
        "empty.surefoot": b"",
        "short.surefoot": b"SQLite",
        "text.surefoot": b"loss,step\n" * 5000,
        "text.csv": b"loss,step\n" * 5000,
        "noise.surefoot": random.Random(3).randbytes(50_000),
        "leaves.surefoot": b"\x0d" * 50_000,
        "zeros.surefoot": bytes(50_000),
    }.items():
        (tmp_path / name).write_bytes(content)
        _not_a_record(tmp_path / name)


@pytest.mark.parametrize("suffix", [".db", ".surefoot"])
def test_database_of_another_program_is_a_clear_error(tmp_path, suffix) -> None:
    path = tmp_path / f"other{suffix}"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE chunk(a, b)")
    other.execute("INSERT INTO chunk VALUES(1, 2)")
    other.commit()
    other.close()
    _not_a_record(path)


@pytest.mark.parametrize("tables", ["same", "other"])
def test_newer_format_says_what_is_needed(tmp_path, tables) -> None:
    path = tmp_path / "a.surefoot"
    writer = RecordWriter(path, {"surefoot": "9.8.7"})
    writer.close()
    newer = sqlite3.connect(path)
    newer.execute(f"PRAGMA user_version={FORMAT_VERSION + 1}")
    if tables == "other":
        newer.execute("DROP TABLE meta")
    newer.commit()
    newer.close()
    with pytest.raises(RecordError) as caught:
        RecordReader(path)
    text = str(caught.value)
    assert f"format {FORMAT_VERSION + 1}" in text
    assert f"up to {FORMAT_VERSION}" in text
    assert ("9.8.7" in text) == (tables == "same")
    assert "pip install -U surefoot" in text
    assert str(path) in text
