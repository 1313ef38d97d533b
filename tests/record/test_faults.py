"""The disk, the folder or the process fails; training never notices."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path

import pytest

from surefoot.record.reader import RecordReader
from surefoot.record.writer import RecordWriter
from surefoot.types import Event

# --- kill -9 --------------------------------------------------------------------

STEPS = """
import sys, time, numpy as np
from surefoot.record import schema
from surefoot.record.writer import RecordWriter
from surefoot.types import Event, Series
if sys.argv[2] == "truncate":
    schema.journal_mode = lambda folder: "truncate"
writer = RecordWriter(sys.argv[1], {"script": "x.py"})
for step in range(10**9):
    for quantity in ("loss", "grad_norm"):
        values = np.sin([[step * 1000.0 + j + len(quantity) for j in range(4)]])
        names = tuple(f"net.{i}.weight" for i in range(4))
        writer.append(
            Series(quantity, names, np.array([step]), values.astype(np.float32))
        )
    writer.event(Event(step, "note", {}))
    print(step, time.monotonic(), flush=True)
    time.sleep(0.001)
"""


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("journal", ["wal", "truncate"])
def test_killed_process_loses_at_most_a_second(
    tmp_path, python, assert_true, journal, seed
) -> None:
    path = tmp_path / "a.surefoot"
    process = python(STEPS, path, journal)
    process.stdout.readline()
    time.sleep(random.Random(seed).uniform(1.3, 2.0))
    process.kill()
    killed = time.monotonic()
    lines = process.stdout.read().splitlines()
    process.wait()
    told = [line.split() for line in lines if len(line.split()) == 2]
    # The second that is promised; another where each commit waits for the disk.
    margin = 1.0 if journal == "wal" else 2.0
    safe = max((int(k) for k, when in told if float(when) < killed - margin), default=0)
    before = _files(tmp_path)
    with RecordReader(path) as reader:
        for quantity in ("loss", "grad_norm"):
            series = reader.series(quantity)
            assert series.steps.tolist() == list(range(len(series.steps)))
            assert series.steps[-1] >= safe
            assert_true(series)
        assert len(reader.events()) == len(series.steps)
        assert reader.status() == "killed"
        assert reader.damage is None
        assert reader.meta["script"] == "x.py"
    after = _files(tmp_path)
    assert after[path.name] == before[path.name]  # reading changed nothing


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# --- a folder where nothing can be written ----------------------------------------


def _read_by_nobody(path: Path) -> str:
    """Steps, events and damage of a record, read in a folder nobody may write.

    Permissions do not bind root, so the reading is done by a forked child that has
    given up its rights.
    """
    source, sink = os.pipe()
    path.parent.chmod(0o555)
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            assert not os.access(path.parent, os.W_OK)
            with RecordReader(path) as reader:
                steps = len(reader.series("loss").steps)
                text = f"{steps} {len(reader.events())} {reader.damage}"
        except BaseException as error:  # noqa: BLE001 - goes to the parent as text
            text = repr(error)
        os.write(sink, text.encode())
        os._exit(0)
    os.close(sink)
    os.waitpid(child, 0)
    path.parent.chmod(0o755)
    with os.fdopen(source) as told:
        return told.read()


@pytest.fixture
def open_folder():
    """A folder that other users may look into; pytest's own are closed to them."""
    folder = Path(tempfile.mkdtemp(prefix="surefoot-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("journal", ["wal", "truncate"])
@pytest.mark.parametrize("memory", ["kept", "lost"])
def test_killed_record_is_whole_in_a_read_only_folder(
    open_folder, python, journal, memory
) -> None:
    path = open_folder / "a.surefoot"
    process = python(STEPS, path, journal)
    process.stdout.readline()
    time.sleep(1.2)
    process.kill()
    process.wait()
    if memory == "lost":
        Path(f"{path}-shm").unlink(missing_ok=True)
    told = _read_by_nobody(path)
    with RecordReader(path) as reader:
        steps = len(reader.series("loss").steps)
    assert steps > 100
    assert told == f"{steps} {steps} None"


def test_record_without_its_journal_is_read_in_a_read_only_folder(
    open_folder, tmp_path, block, read
) -> None:
    writer = RecordWriter(tmp_path / "a.surefoot", {})
    writer.append(block("loss"))
    writer.flush()
    read(tmp_path / "a.surefoot").series("loss")  # keeps the journal in use
    writer.close()
    shutil.copy(tmp_path / "a.surefoot", open_folder)
    assert _read_by_nobody(open_folder / "a.surefoot") == "50 0 None"


def test_record_that_may_not_be_read_is_a_clear_error(open_folder, block) -> None:
    path = open_folder / "a.surefoot"
    RecordWriter(path, {}).close()
    path.chmod(0o000)
    assert "RecordError" in (told := _read_by_nobody(path))
    assert "permissions" in told


def test_hot_journal_of_a_killed_commit_is_rolled_back(
    tmp_path, block, read, monkeypatch
) -> None:
    monkeypatch.setattr(
        "surefoot.record.schema.journal_mode", lambda folder: "truncate"
    )
    path = tmp_path / "a.surefoot"
    writer = RecordWriter(path, {})
    writer.append(block("loss"))
    writer.close()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as torn:
        torn.execute("PRAGMA cache_size=1")  # spills to the file before the commit
        torn.execute("BEGIN IMMEDIATE")
        torn.execute("UPDATE chunk SET crc = 0")
        torn.execute("CREATE TABLE more(x)")
        torn.execute("INSERT INTO more VALUES(zeroblob(100000))")
        for name in os.listdir(tmp_path):
            shutil.copy(tmp_path / name, tmp_path / name.replace("a.", "b."))
        torn.execute("ROLLBACK")
    assert (tmp_path / "b.surefoot-journal").stat().st_size > 0
    reader = read(tmp_path / "b.surefoot")
    assert len(reader.series("loss").steps) == 50
    assert reader.damage is None


# --- full disk --------------------------------------------------------------------

FULL = """
import resource, sys, time, numpy as np
from surefoot.record import feed
from surefoot.record.writer import RecordWriter
from surefoot.types import Event, Series
feed.RETRY_SECONDS = (0.05, 0.2)

def block(first):
    steps = np.arange(first, first + 50)
    values = np.sin(steps[:, None] * 1000.0 + np.arange(200) + 4)
    names = tuple(f"net.{i}.weight" for i in range(200))
    return Series("loss", names, steps, values.astype(np.float32))

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

writer = RecordWriter(sys.argv[1], {"script": "x.py"}, queue_bytes=int(sys.argv[2]))
limit(300_000)  # the disk takes no more than this in any file
for first in range(0, 2000, 50):
    writer.append(block(first))
    if first % 200 == 0:
        writer.flush()
print(writer.trouble, flush=True)
if sys.argv[3] == "freed":
    limit(resource.RLIM_INFINITY)
    time.sleep(0.5)
    writer.append(block(2000))
writer.event(Event(2000, "end", {"status": "finished"}))
writer.close()
print(writer.dropped, writer.trouble, flush=True)
"""


def test_full_disk_that_clears_up_loses_nothing(tmp_path, python, assert_true) -> None:
    path = tmp_path / "a.surefoot"
    out, errors = python(FULL, path, 10**8, "freed").communicate(timeout=60)
    first, last = out.splitlines()
    assert errors == ""
    assert str(path) in first
    assert last == "0 None"
    with RecordReader(path) as reader:
        series = reader.series("loss")
        assert series.steps.tolist() == list(range(2050))
        assert_true(series)
        assert reader.status() == "finished"
        assert reader.damage is None


def test_full_disk_costs_what_did_not_fit_and_says_so(
    tmp_path, python, assert_true
) -> None:
    path = tmp_path / "a.surefoot"
    out, errors = python(FULL, path, 200_000, "full").communicate(timeout=60)
    dropped = int(out.splitlines()[-1].split()[0])
    assert errors == ""
    assert str(path) in out.splitlines()[-1]
    with RecordReader(path) as reader:
        series = reader.series("loss")
        assert_true(series)
        assert 0 < len(series.steps) < 2000
        assert dropped >= (2000 - len(series.steps)) // 50
        assert reader.damage is None
        assert reader.meta["script"] == "x.py"


def test_no_room_at_the_start_is_refused_at_once(tmp_path, python) -> None:
    code = (
        "import resource, sys\n"
        "from surefoot.record.writer import RecordWriter\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "RecordWriter(sys.argv[1], {})"
    )
    _, errors = python(code, tmp_path / "a.surefoot").communicate(timeout=60)
    assert "RecordError" in errors
    assert "cannot be written" in errors
    assert os.listdir(tmp_path) == []


# --- deleted and replaced ---------------------------------------------------------


def _remove(path: Path, what: str) -> None:
    if what == "file":
        path.unlink()
    elif what == "file and journal":
        for one in path.parent.iterdir():
            one.unlink()
    else:
        shutil.rmtree(path.parent)


@pytest.mark.parametrize("what", ["file", "file and journal", "folder"])
def test_deleted_record_is_begun_anew(tmp_path, block, assert_true, what) -> None:
    path = tmp_path / "runs" / "a.surefoot"
    writer = RecordWriter(path, {"script": "x.py"})
    writer.put_meta("streams", {"main": {"optimizer": "SGD"}})
    for first in range(0, 200, 50):
        writer.append(block(first=first))
    assert writer.flush()
    _remove(path, what)
    for first in range(200, 400, 50):
        writer.append(block(first=first))
        assert writer.flush()
    writer.event(Event(399, "end", {"status": "finished"}))
    writer.close()
    assert writer.dropped == 0
    assert "was deleted" in (writer.trouble or "")
    assert str(path) in (writer.trouble or "")
    with RecordReader(path) as reader:
        series = reader.series("grad_norm")
        assert_true(series)
        assert series.steps.tolist() == list(range(200, 400))
        assert reader.meta["script"] == "x.py"
        assert reader.facts()["main"].optimizer == "SGD"
        assert "was deleted" in reader.meta["trouble"]
        assert reader.status() == "finished"
        assert reader.damage is None
    assert os.listdir(path.parent) == ["a.surefoot"]


def test_deleted_journal_costs_nothing(tmp_path, block, read, assert_true) -> None:
    path = tmp_path / "a.surefoot"
    writer = RecordWriter(path, {})
    for first in range(0, 200, 50):
        writer.append(block(first=first))
        assert writer.flush()
    Path(f"{path}-wal").unlink()
    for first in range(200, 400, 50):
        writer.append(block(first=first))
        assert writer.flush()
    writer.close()
    assert (writer.dropped, writer.trouble) == (0, None)
    assert len(read(path).series("grad_norm").steps) == 400
    assert_true(read(path).series("grad_norm"))


def test_folder_that_cannot_come_back_is_told_and_waited_for(tmp_path, block) -> None:
    folder = tmp_path / "runs"
    writer = RecordWriter(folder / "a.surefoot", {})
    shutil.rmtree(folder)
    folder.write_text("a file lies in its way")
    writer.append(block())
    assert not writer.flush()
    assert str(folder) in (writer.trouble or "")
    folder.unlink()
    assert writer.flush()
    writer.close()
    assert writer.dropped == 0
    with RecordReader(folder / "a.surefoot") as reader:
        assert len(reader.series("grad_norm").steps) == 50


def test_file_of_somebody_else_is_left_alone(tmp_path, block) -> None:
    path = tmp_path / "a.surefoot"
    writer = RecordWriter(path, {})
    (tmp_path / "other").write_text("precious")
    (tmp_path / "other").rename(path)
    writer.append(block())
    assert not writer.flush()
    writer.close()
    assert writer.dropped == 1
    assert "replaced" in (writer.trouble or "")
    assert path.read_text() == "precious"
