from __future__ import annotations

import gc
import json
import math
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from surefoot.record.reader import RecordReader
from surefoot.record.schema import RecordError
from surefoot.record.writer import RecordWriter
from surefoot.types import Event, Series

LAYERS = ("a", "b", "c", "d")


def test_what_is_written_is_read(tmp_path, block, read, assert_true) -> None:
    path = tmp_path / "new" / "deep" / "net.surefoot"
    writer = RecordWriter(path, {"script": "train.py", "argv": ["--lr", "1"]})
    for first in range(0, 500, 50):
        writer.append(block(first=first))
    writer.event(Event(3, "note", {"text": "hé"}, stream="g"))
    writer.put_meta("script", "other.py")
    writer.close()
    reader = read(path)
    series = reader.series("grad_norm")
    assert_true(series)
    assert len(series.steps) == 500
    assert reader.events() == [Event(3, "note", {"text": "hé"}, stream="g")]
    assert reader.meta["script"] == "other.py"
    assert reader.meta["argv"] == ["--lr", "1"]
    assert reader.meta["created"].endswith("+00:00")
    assert (writer.dropped, writer.trouble, reader.damage) == (0, None, None)
    assert os.listdir(path.parent) == [path.name]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(("main", "generator")),
            st.sampled_from(("loss", "grad_norm")),
            st.lists(st.sampled_from(LAYERS), min_size=1, unique=True),
            st.lists(st.integers(0, 200), min_size=1, max_size=9, unique=True),
        ),
        max_size=12,
    ),
    st.randoms(use_true_random=False),
)
def test_any_mix_of_blocks_comes_back(tmp_path_factory, blocks, random) -> None:
    path = tmp_path_factory.mktemp("mix") / "net.surefoot"
    writer = RecordWriter(path, {})
    truth: dict[tuple[str, str], dict[tuple[int, str], float]] = {}
    channels: dict[tuple[str, str], list[list[str]]] = {}
    for stream, quantity, layers, steps in blocks:
        known = channels.setdefault((stream, quantity), [])
        if layers not in known and known:
            layers = known[0]  # which of two layer sets wins a step is not promised
        known.append(layers)
        steps = np.array(sorted(steps), np.int64)
        values = np.array(
            [[random.random() for _ in layers] for _ in steps], np.float32
        )
        writer.append(Series(quantity, tuple(layers), steps, values, stream))
        cells = truth.setdefault((stream, quantity), {})
        for step, row in zip(steps, values, strict=True):
            cells.update({(step, name): v for name, v in zip(layers, row, strict=True)})
    writer.close()
    with RecordReader(path) as reader:
        assert {(s, q) for s in reader.streams() for q in reader.quantities(s)} == set(
            truth
        )
        for (stream, quantity), cells in truth.items():
            series = reader.series(quantity, stream)
            assert series.steps.tolist() == sorted({step for step, _ in cells})
            for i, step in enumerate(series.steps):
                for j, name in enumerate(series.layers):
                    assert series.values[i, j] == cells[step, name]
    os.unlink(path)


def test_caller_may_reuse_its_arrays(tmp_path, read) -> None:
    writer = RecordWriter(tmp_path / "a.surefoot", {})
    steps, values = np.arange(3), np.ones((3, 1), np.float32)
    writer.append(Series("loss", ("run",), steps, values))
    steps += 100
    values[:] = 7
    writer.close()
    series = read(tmp_path / "a.surefoot").series("loss")
    assert series.steps.tolist() == [0, 1, 2]
    assert series.values.tolist() == [[1], [1], [1]]


def test_nothing_odd_raises_into_training(tmp_path, read) -> None:
    writer = RecordWriter(tmp_path / "a.surefoot", {})
    loop: dict[str, object] = {}
    loop["self"] = loop
    writer.event(Event(0, "odd", {"tensor": object(), "nan": math.nan}))
    writer.event(Event(1, "odder", loop))
    writer.put_meta("odd", loop)
    wrong = np.ones((3, 2), np.float32)
    writer.append(Series("loss", ("run",), np.arange(3), wrong))
    writer.append(Series("loss", ("run",), np.arange(3), "words"))  # type: ignore[arg-type]
    writer.append(Series("loss", ("run",), np.arange(0), wrong[:0, :1]))
    writer.append(Series("lr", ("group0",), np.arange(3), np.ones((3, 1))))
    writer.close()
    writer.close()
    writer.append(Series("lr", ("group0",), np.arange(3), np.ones((3, 1))))
    assert writer.dropped == 3
    assert "loss" in (writer.trouble or "")
    reader = read(tmp_path / "a.surefoot")
    assert reader.quantities() == ("lr",)
    assert [event.kind for event in reader.events()] == ["odd", "odder"]
    assert reader.meta["dropped"] == 2
    assert "loss" in reader.meta["trouble"]


def test_one_bad_batch_does_not_stop_the_rest(tmp_path, block, read) -> None:
    path = tmp_path / "a.surefoot"
    writer = RecordWriter(path, {})
    writer.event(Event(2**70, "beyond", {}))
    assert writer.flush()
    writer.append(block())
    writer.close()
    assert writer.dropped == 1
    assert "could not be recorded" in (writer.trouble or "")
    assert len(read(path).series("grad_norm").steps) == 50
    assert read(path).damage is None


def test_flush_commits_for_others_to_see(tmp_path, block, read) -> None:
    writer = RecordWriter(tmp_path / "a.surefoot", {})
    reader = read(tmp_path / "a.surefoot")
    for first in range(0, 200, 50):
        writer.append(block(first=first))
        assert writer.flush()
        assert reader.last_step() == first + 49
        assert reader.status() == "running"
    writer.event(Event(199, "end", {"status": "finished"}))
    writer.close()
    assert reader.status() == "finished"
    assert len(reader.series("grad_norm").steps) == 200
    assert reader.damage is None


def test_commits_by_itself_within_a_second(tmp_path, block, read) -> None:
    writer = RecordWriter(tmp_path / "a.surefoot", {})
    reader = read(tmp_path / "a.surefoot")
    writer.append(block())
    begun = time.monotonic()
    while not reader.has("grad_norm"):
        # Half a second is meant; the rest is for a machine that does much else.
        assert time.monotonic() - begun < 3.0
        time.sleep(0.02)
    writer.close()


def test_full_queue_drops_and_counts(tmp_path, block, read, monkeypatch) -> None:
    path = tmp_path / "a.surefoot"
    writer = RecordWriter(path, {}, queue_bytes=20_000)
    with sqlite3.connect(path, isolation_level=None) as lock:
        lock.execute("BEGIN IMMEDIATE")  # the disk stands still
        for first in range(0, 50_000, 50):
            writer.append(block(first=first))
        lock.execute("ROLLBACK")
    lock.close()
    writer.close()
    kept = len(read(path).series("grad_norm").steps) // 50
    assert kept + writer.dropped == 1000
    assert writer.dropped > 500
    assert "left out" in (writer.trouble or "")
    assert read(path).meta["dropped"] == writer.dropped


def test_append_returns_while_the_disk_stands_still(tmp_path, block) -> None:
    path = tmp_path / "a.surefoot"
    writer = RecordWriter(path, {})
    with sqlite3.connect(path, isolation_level=None) as lock:
        lock.execute("BEGIN IMMEDIATE")
        begun = time.perf_counter()
        for first in range(0, 5000, 50):
            writer.append(block(first=first))
        writer.event(Event(1, "note", {}))
        assert time.perf_counter() - begun < 1.0
        assert not writer.flush(0.2)
        lock.execute("ROLLBACK")
    lock.close()
    writer.close()
    assert writer.dropped == 0


def test_many_threads_may_append(tmp_path, block, read, assert_true) -> None:
    writer = RecordWriter(tmp_path / "a.surefoot", {})

    def work(name: str) -> None:
        for first in range(0, 1000, 10):
            writer.append(block(name, first, 10))
            writer.event(Event(first, name, {}))

    threads = [threading.Thread(target=work, args=(f"q{i}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    reader = read(tmp_path / "a.surefoot")
    assert len(reader.events()) == 600
    for index in range(6):
        series = reader.series(f"q{index}")
        assert len(series.steps) == 1000
        assert_true(series)


def test_forgotten_writer_still_flushes(tmp_path, block, read) -> None:
    writer = RecordWriter(tmp_path / "a.surefoot", {})
    writer.append(block())
    del writer
    gc.collect()
    reader = read(tmp_path / "a.surefoot")
    assert len(reader.series("grad_norm").steps) == 50
    assert not any(t.name == "surefoot-record" for t in threading.enumerate())


EXITS = """
import sys, numpy as np
from surefoot.record.writer import RecordWriter
from surefoot.types import Series
writer = RecordWriter(sys.argv[1], {})
steps = np.arange(50)
writer.append(Series("loss", ("run",), steps, np.ones((50, 1), np.float32)))
exec(sys.argv[2])
"""


@pytest.mark.parametrize(
    "ending", ["pass", "sys.exit(3)", "raise ValueError", "raise KeyboardInterrupt"]
)
def test_interpreter_exit_loses_nothing(tmp_path, python, read, ending) -> None:
    process = python(EXITS, tmp_path / "a.surefoot", ending)
    _, errors = process.communicate(timeout=60)
    assert "surefoot-record" not in errors
    reader = read(tmp_path / "a.surefoot")
    assert len(reader.series("loss").steps) == 50
    assert reader.status() == "killed"  # it never said how it ended
    assert os.listdir(tmp_path) == ["a.surefoot"]


# --- before training ------------------------------------------------------------


def test_folder_that_cannot_be_made_is_refused_at_once(tmp_path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file" / "a.surefoot", Path("/proc/none/a.surefoot")):
        with pytest.raises(RecordError, match="cannot be written") as caught:
            RecordWriter(path, {})
        assert str(path) in str(caught.value)


def test_existing_file_is_never_overwritten(tmp_path) -> None:
    path = tmp_path / "a.surefoot"
    path.write_text("precious")
    with pytest.raises(RecordError, match="is there already"):
        RecordWriter(path, {})
    assert path.read_text() == "precious"


def test_meta_that_is_no_json_is_refused_at_once(tmp_path) -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(RecordError, match="JSON"):
        RecordWriter(tmp_path / "a.surefoot", {"loop": loop})
    assert os.listdir(tmp_path) == []


def test_record_moves_with_no_change_of_directory(
    tmp_path, block, read, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    writer = RecordWriter("runs/a b#?%.surefoot", {})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    writer.append(block())
    writer.close()
    assert writer.trouble is None
    assert read(tmp_path / "runs" / "a b#?%.surefoot").last_step() == 49


# --- forks ----------------------------------------------------------------------

FORKS = """
import gc, os, sys, time, numpy as np
from surefoot.record.writer import RecordWriter
from surefoot.types import Event, Series
def block(first):
    steps = np.arange(first, first + 10)
    return Series("loss", ("run",), steps, np.ones((10, 1), np.float32))
writer = RecordWriter(sys.argv[1], {})
children = []
for k in range(40):
    writer.append(block(10 * k))
    child = os.fork()
    if child == 0:
        for i in range(50):
            writer.append(block(100000))
        writer.event(Event(9, "child", {}))
        writer.put_meta("child", 1)
        assert not writer.flush(0.1)
        if k % 2:
            writer.close()
            del writer
            gc.collect()
        if k % 4 < 2:
            os._exit(0)
        sys.exit(0)
    children.append(child)
    if k % 5 == 0:
        writer.flush()
for child in children:
    pid, status = os.waitpid(child, 0)
    assert status == 0, status
writer.append(block(400))
writer.close()
print(writer.dropped, writer.trouble)
"""


def test_forked_children_neither_write_nor_break_it(tmp_path, python, read) -> None:
    process = python(FORKS, tmp_path / "a.surefoot")
    out, errors = process.communicate(timeout=120)
    assert (out.strip(), errors) == ("0 None", "")
    reader = read(tmp_path / "a.surefoot")
    assert reader.series("loss").steps.tolist() == list(range(410))
    assert reader.events() == []
    assert "child" not in reader.meta
    assert reader.damage is None


# --- several at once ------------------------------------------------------------

WRITES = """
import sys, time, numpy as np
from surefoot.record.writer import RecordWriter
from surefoot.types import Event, Series
writer = RecordWriter(sys.argv[1], {})
sys.stdin.readline()
for first in range(0, 3000, 50):
    for quantity in ("loss", "grad_norm"):
        steps = np.arange(first, first + 50)
        values = np.sin(steps[:, None] * 1000.0 + np.arange(4) + len(quantity))
        names = tuple(f"net.{i}.weight" for i in range(4))
        writer.append(Series(quantity, names, steps, values.astype(np.float32)))
    time.sleep(0.02)
    if first % 300 == 0:
        writer.flush()
writer.event(Event(2999, "end", {"status": "finished"}))
writer.close()
assert writer.trouble is None and writer.dropped == 0
"""


def test_four_writers_in_one_folder_and_a_live_reader(
    tmp_path, python, assert_true
) -> None:
    paths = [tmp_path / f"{index}.surefoot" for index in range(4)]
    processes = [python(WRITES, path) for path in paths]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    seen: list[int] = []
    while any(process.poll() is None for process in processes):
        for path in paths:
            seen.extend(_look(path, assert_true))
        time.sleep(0.05)
    assert [process.wait() for process in processes] == [0] * 4
    assert len(set(seen)) > 3  # it was read while it grew
    for path in paths:
        with RecordReader(path) as reader:
            assert reader.status() == "finished"
            for quantity in ("loss", "grad_norm"):
                assert len(reader.series(quantity).steps) == 3000
                assert_true(reader.series(quantity))
    # A reader that closes after the writer leaves SQLite's own two files behind.
    left = {
        name.removesuffix("-wal").removesuffix("-shm") for name in os.listdir(tmp_path)
    }
    assert left == {path.name for path in paths}


def _look(path: Path, check: Callable[[Series], None]) -> list[int]:
    if not path.exists() or not path.stat().st_size:
        return []
    with RecordReader(path) as reader:
        assert reader.damage is None
        if not reader.has("grad_norm"):
            return []
        series = reader.series("grad_norm")
        check(series)
        assert series.steps[0] == 0
        return [len(series.steps)]


def test_truncate_journal_works_the_same(
    tmp_path, block, read, assert_true, monkeypatch
) -> None:
    monkeypatch.setattr(
        "surefoot.record.schema.journal_mode", lambda folder: "truncate"
    )
    writer = RecordWriter(tmp_path / "a.surefoot", {})
    reader = read(tmp_path / "a.surefoot")
    for first in range(0, 500, 50):
        writer.append(block(first=first))
        assert writer.flush()
        assert_true(reader.series("grad_norm"))
        assert not (tmp_path / "a.surefoot-wal").exists()
    writer.close()
    assert len(reader.series("grad_norm").steps) == 500
    assert json.loads(json.dumps(reader.meta))["created"]
