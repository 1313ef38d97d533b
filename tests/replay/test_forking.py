"""Branches that are forked: how they are started, how they end, and what if not."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from surefoot.replay.forking import LOST, Starter

PROGRAM = """
import os, sys, time

def main(arguments):
    print(os.getpgid(0) == os.getpid(), sys.stdin.read(), *arguments)
    if arguments[0] == "sleep":
        sys.stdout.flush()
        time.sleep(600)
    return int(arguments[0])

if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        from surefoot.replay.forking import serve
        sys.exit(serve(main, sys.stdin, sys.stdout))
    print("from the start")
    sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "program.py").write_text(PROGRAM)
    paths = [str(tmp_path), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def test_branches_are_forked_and_outlive_nothing(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with Starter("program", environment) as starter:
        done = starter.start(["3", "told"], tmp_path / "a.txt")
        asleep = starter.start(["sleep"], tmp_path / "b.txt")
        killed = starter.start(["sleep"], tmp_path / "c.txt")
        assert done.wait(60) == 3
        assert (tmp_path / "a.txt").read_text() == "True  3 told\n"
        while not (tmp_path / "c.txt").read_text():
            time.sleep(0.01)
        os.killpg(killed.pid, signal.SIGKILL)
        assert killed.wait(60) == -signal.SIGKILL
        assert asleep.poll() is None
    with pytest.raises(ProcessLookupError):
        os.kill(asleep.pid, 0)


def test_where_nothing_forks_each_is_a_process_from_the_start(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Starter("program", environment) as starter:
        asleep = starter.start(["sleep"], tmp_path / "a.txt")
        parent = int(Path(f"/proc/{asleep.pid}/stat").read_text().split()[3])
        os.kill(parent, signal.SIGKILL)
        assert asleep.wait(60) == LOST
        os.killpg(asleep.pid, signal.SIGKILL)
        again = starter.start(["4"], tmp_path / "b.txt")
        assert again.wait(60) == 4
    assert (tmp_path / "b.txt").read_text() == "from the start\nTrue  4\n"
    monkeypatch.setattr(sys, "platform", "win32")
    with Starter("program", environment) as starter:
        assert starter.start(["5"], tmp_path / "c.txt").wait(60) == 5
    assert (tmp_path / "c.txt").read_text().startswith("from the start")
