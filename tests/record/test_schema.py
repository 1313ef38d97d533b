from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from surefoot.record.schema import SUFFIX, journal_mode, rank_path, run_path

NOW = datetime(2026, 3, 4, 5, 6, 7)
MOUNTS = """\
/dev/vda / ext4 rw 0 0
tmpfs /tmp tmpfs rw 0 0
server:/x /home/data nfs4 rw 0 0
/dev/sdb /home/data/local xfs rw 0 0
s3 /mnt/my\\040bucket fuse.s3fs rw 0 0
"""


def test_path_is_named_as_promised(tmp_path: Path) -> None:
    path = run_path(tmp_path, "deep_net", NOW)
    assert path.parent == tmp_path
    stem, digits = path.name.removesuffix(SUFFIX).rsplit("-", 1)
    assert stem == "deep_net-20260304-050607"
    assert len(digits) == 4
    assert int(digits, 16) >= 0


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "/", "", "…", "x" * 999])
def test_name_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    path = run_path(tmp_path, name, NOW)
    assert path.parent == tmp_path
    assert len(path.name) < 200
    path.touch()


def test_two_runs_of_one_second_differ(tmp_path: Path) -> None:
    found = {run_path(tmp_path, "net", NOW) for _ in range(20)}
    assert len(found) > 1


def test_path_leaves_seeded_generators_alone(tmp_path: Path) -> None:
    import random

    random.seed(1)
    before = random.getstate()
    run_path(tmp_path, "net", NOW)
    assert random.getstate() == before


def test_rank_zero_keeps_the_plain_name() -> None:
    assert rank_path("runs/a.surefoot", 0) == Path("runs/a.surefoot")
    assert rank_path("runs/a.surefoot", 11) == Path("runs/a.rank11.surefoot")


@pytest.mark.parametrize(
    ("folder", "mode"),
    [
        ("/home/me/runs", "wal"),
        ("/tmp/runs", "wal"),
        ("/home/data/runs", "truncate"),
        ("/home/data/local/runs", "wal"),
        ("/mnt/my bucket/runs", "truncate"),
        ("/home/database", "wal"),
    ],
)
def test_journal_fits_the_file_system(folder: str, mode: str) -> None:
    assert journal_mode(Path(folder), MOUNTS) == mode


def test_garbled_mounts_are_survived() -> None:
    assert journal_mode(Path("/x"), "what\n\n/a /b\n") == "wal"
