"""A record that grows under a page's eyes, and the examiner in the background."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from served import block, write_judged_run, write_run, writer_of
from surefoot.dashboard.__main__ import bound
from surefoot.dashboard.examiner import Examiner, outcome_of
from surefoot.dashboard.library import Library, mark_of
from surefoot.diagnosis.examine import examine
from surefoot.diagnosis.stored import KEY, to_store
from surefoot.record.reader import RecordReader
from surefoot.types import Event

ALARM = {"cause": "divergence", "layer": "run", "onset": 50, "confidence": 0.9}


@pytest.fixture
def growing(folder):
    """The writer of a run that is under way, 100 steps in."""
    writer = writer_of(folder / "growing.surefoot")
    writer.append(block("loss", 0, 100))
    writer.flush()
    yield writer
    writer.close()


def judged(told):
    return told["judged"]["state"]


# --- answers while it runs --------------------------------------------------------


def test_a_run_under_way_is_shown_as_far_as_it_is(asked, folder, growing):
    dashboard = asked(folder)
    told = dashboard.get("/api/run/growing").json
    assert (told["run"]["status"], told["run"]["steps"]) == ("running", 100)
    assert judged(told) == "pending"
    growing.append(block("loss", 100, 50))
    growing.put_meta(KEY, to_store([], 100))
    growing.flush()
    told = dashboard.get("/api/run/growing").json
    assert told["run"]["steps"] == 150
    assert told["judged"] == {"state": "so_far", "steps": 100, "text": ""}
    tail = dashboard.get("/api/run/growing/panel?name=loss&start=149&width=1").json
    assert tail["panel"]["x"] == [149]


def test_reading_leaves_an_ending_run_one_plain_file(asked, folder, growing):
    dashboard = asked(folder)
    for target in ("/api/runs", "/api/run/growing", "/api/run/growing/verdict"):
        assert dashboard.get(target).status == 200
    growing.event(Event(100, "end", {"status": "finished"}))
    growing.close()
    beside = [one.name for one in folder.iterdir() if one.name.startswith("growing")]
    assert beside == ["growing.surefoot"]
    assert dashboard.get("/api/run/growing").json["run"]["status"] == "finished"


def test_a_writer_that_was_killed_is_noticed(asked, folder):
    code = """
import sys, time
from pathlib import Path
from served import block, writer_of
writer = writer_of(Path(sys.argv[1]))
writer.append(block("loss", 0, 30))
writer.flush()
print("written", flush=True)
time.sleep(600)
"""
    path = folder / "killed.surefoot"
    process = subprocess.Popen(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, 'tests'){code}", path],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        dashboard = asked(folder)
        assert dashboard.get("/api/run/killed").json["run"]["status"] == "running"
    finally:
        process.kill()
        process.communicate()
    lines = dashboard.get("/api/runs").json["runs"]
    [line] = [one for one in lines if one["name"] == "killed"]
    assert line["status"] == "killed"
    told = dashboard.until("/api/run/killed", lambda told: judged(told) == "final")
    assert told["judged"]["steps"] == 30


# --- the examiner -----------------------------------------------------------------


def test_a_run_without_a_last_word_is_examined(asked, folder):
    path = write_run(folder, "old", broken=True)
    dashboard = asked(folder)
    told = dashboard.get("/api/run/old").json
    assert (judged(told), told["diagnoses"]) == ("pending", [])
    told = dashboard.until("/api/run/old", lambda told: judged(told) != "pending")
    assert told["judged"] == {"state": "final", "steps": 200, "text": ""}
    with RecordReader(path) as reader:
        assert told["diagnoses"][0]["cause"] == examine(reader)[0].cause
    lines = dashboard.get("/api/runs").json["runs"]
    [line] = [one for one in lines if one["name"] == "old"]
    assert line["verdict"]["layer"] == "fc"


def test_a_last_word_of_fewer_steps_is_shown_until_the_run_was_examined(asked, folder):
    path = folder / "longer.surefoot"
    writer = writer_of(path, **{KEY: to_store([], 20)})
    writer.append(block("loss", 0, 200))
    writer.event(Event(200, "end", {"status": "finished"}))
    writer.close()
    dashboard = asked(folder)
    told = dashboard.get("/api/run/longer").json
    assert (judged(told), told["judged"]["steps"]) == ("pending", 20)
    told = dashboard.until("/api/run/longer", lambda told: judged(told) == "final")
    assert told["judged"]["steps"] == 200


def test_what_of_a_long_record_was_left_out_is_told(asked, folder):
    path = folder / "long.surefoot"
    writer = writer_of(path, **{KEY: to_store([], 200, "The record is long.")})
    writer.append(block("loss", 0, 200))
    writer.event(Event(200, "end", {"status": "finished"}))
    writer.close()
    told = asked(folder).get("/api/run/long").json
    assert told["judged"]["text"] == "The record is long."


def test_a_garbled_last_word_is_taken_for_none(asked, folder):
    path = folder / "garbled.surefoot"
    writer = writer_of(path, **{KEY: {"found": "everything", "steps": 1e99}})
    writer.append(block("loss", 0, 200))
    writer.event(Event(200, "end", {"status": "finished"}))
    writer.close()
    dashboard = asked(folder)
    assert judged(dashboard.get("/api/run/garbled").json) == "pending"
    dashboard.until("/api/run/garbled", lambda told: judged(told) == "final")


def test_an_examination_that_fails_says_why(tmp_path):
    path = tmp_path / "garbage.surefoot"
    path.write_bytes(b"nothing of ours" * 100)
    examiner = Examiner()
    try:
        mark, end = mark_of(path), time.monotonic() + 20
        while (outcome := examiner.outcome(path, mark)) is None:
            assert time.monotonic() < end
            time.sleep(0.05)
    finally:
        examiner.close()
    assert outcome.stored is None
    assert "damaged" in outcome.trouble


def test_an_examiner_that_is_closed_ends_its_process(folder):
    path = write_run(folder, "old")
    examiner = Examiner()
    assert examiner.outcome(path, mark_of(path)) is None
    examiner.close()
    assert examiner.outcome(path, mark_of(path)) is None
    assert examiner._job is None


def test_what_an_examination_says_is_read_or_refused():
    assert outcome_of(b'{"found": [], "steps": 3, "surefoot": "1"}', b"").stored
    for told in (b"", b"{}", b"[" * 10_000, b"\xff"):
        assert outcome_of(told, b"why\nit failed").trouble.endswith(": it failed")


# --- readers ----------------------------------------------------------------------


def test_few_files_stay_open_and_none_after_the_end(folder):
    for index in range(5):
        write_run(folder, f"run{index}", steps=5)
    library = Library(folder, kept=3)
    readers = []
    for path in library.paths().values():
        with library.reading(path) as reader:
            readers.append(reader)
    assert sum(map(is_open, readers)) == 3
    with library.reading(library.path("run4")) as again:
        assert again is readers[-1]
        with library.reading(library.path("run4")) as second:
            assert second is not again
    library.close()
    assert not any(map(is_open, readers))


def is_open(reader):
    from surefoot.record.schema import RecordError

    try:
        reader.events()
    except RecordError:
        return False
    return True


# --- news, from a real server -----------------------------------------------------


def test_the_state_is_told_at_once_and_then_each_change(served, news, folder, growing):
    stream = news(served(folder), "growing")
    assert stream.status == 200
    assert stream.headers["content-type"].startswith("text/event-stream")
    name, state = stream.next()
    assert (name, state["status"], state["steps"]) == ("run", "running", 100)
    growing.append(block("loss", 100, 30))
    state = stream.until(lambda state: state["steps"] == 130)
    before = state["verdict"]
    growing.put_meta(KEY, to_store([], 130))
    state = stream.until(lambda state: judged(state) == "so_far")
    assert state["verdict"] != before
    growing.event(Event(130, "end", {"status": "finished"}))
    growing.close()
    state = stream.until(lambda state: state["status"] == "finished")
    assert judged(state) == "final"
    growing.path.unlink()
    stream.until(lambda state: state["status"] == "gone")


def test_an_alarm_is_told_within_two_seconds(served, news, folder, growing):
    """Best of five, as other work on the machine may hold up any one of them."""
    stream = news(served(folder), "growing")
    _, state = stream.next()
    waits = []
    for _ in range(5):
        start, known = time.monotonic(), state["events"]
        growing.event(Event(50, "finding", ALARM))
        state = stream.until(lambda state, known=known: state["events"] > known)
        waits.append(time.monotonic() - start)
    assert min(waits) < 2.0, waits


def test_the_list_tells_of_runs_that_come_change_and_go(served, news, folder, growing):
    stream = news(served(folder))
    name, told = stream.next()
    assert name == "runs"
    names = {one["name"] for one in told["runs"]}
    assert (names, told["gone"]) == ({"healthy", "broken", "growing"}, [])
    write_judged_run(folder, "new")

    def has(which):
        return lambda told: which in {one["name"] for one in told["runs"]}

    told = stream.until(has("new"))
    assert "healthy" not in {one["name"] for one in told["runs"]}
    growing.append(block("loss", 100, 30))
    told = stream.until(has("growing"))
    (folder / "healthy.surefoot").unlink()
    stream.until(lambda told: told["gone"] == ["healthy"])


def test_a_server_that_was_killed_tells_all_after_it_is_back(
    served, news, folder, growing
):
    server = served(folder)
    stream = news(server, "growing")
    stream.next()
    server.end(signal.SIGKILL)
    assert stream.next() == ("closed", None)
    growing.append(block("loss", 100, 50))
    growing.event(Event(120, "finding", ALARM))
    growing.flush()
    port = server.host.rpartition(":")[2]
    again = served(folder, "--port", port)
    assert again.address == server.address
    _, state = news(again, "growing").next()
    assert (state["steps"], state["events"]) == (150, 1)
    told = again.get("/api/run/growing/verdict?events_from=0").json
    assert [one["kind"] for one in told["events"]] == ["finding"]


def test_ctrl_c_ends_it_with_streams_open(served, news, folder):
    server = served(folder)
    stream = news(server)
    stream.next()
    assert server.end() == 0
    assert stream.next() == ("closed", None)
    assert server.process.stderr is not None


def test_a_termination_ends_it_too(served, folder):
    server = served(folder)
    assert server.get("/api/runs").status == 200
    assert server.end(signal.SIGTERM) in (0, -signal.SIGTERM)


def test_a_port_in_use_is_told(served, folder):
    server = served(folder)
    port = server.host.rpartition(":")[2]
    other = served(folder, "--port", port)
    assert other.address == ""
    told = other.process.communicate(timeout=20)[1]
    assert other.process.returncode == 2
    assert f"port {port} cannot be used" in told
    assert "--port" in told


def test_another_port_is_found_where_the_usual_one_is_taken():
    with bound("127.0.0.1", None) as first, bound("127.0.0.1", None) as second:
        ports = {one.getsockname()[1] for one in (first, second)}
        assert len(ports) == 2
        with pytest.raises(OSError, match=f"port {max(ports)} cannot be used"):
            bound("127.0.0.1", max(ports))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--port", "99999"], "expected a port"),
        (["--host", "0.0.0.0"], "invalid choice"),
        ([__file__], "no folder"),
        (["--nonsense"], "unrecognized"),
    ],
)
def test_what_is_not_understood_ends_with_2(served, arguments, words):
    server = served(*arguments)
    told = server.process.communicate(timeout=20)[1]
    assert server.process.returncode == 2
    assert words in told


def test_a_real_server_refuses_foreign_requests(served, folder):
    server = served(folder)
    assert server.get("/api/runs").status == 200
    assert server.get("/api/runs", host="evil.example").status == 403
    assert server.get("/api/runs", origin="http://evil.example").status == 403
    port = server.host.rpartition(":")[2]
    assert server.get("/api/runs", host=f"localhost:{port}").status == 200
    for target in ("/api/run/../../etc/passwd", "/../etc/passwd", "//etc/passwd"):
        assert server.get(target).status == 404


def test_the_server_needs_no_torch(served, folder):
    code = (
        "import sys; sys.modules['torch'] = None; "
        "import surefoot.dashboard.__main__, surefoot.dashboard.examination"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
