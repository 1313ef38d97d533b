"""Work in copies of the process, tested in a process of its own.

A copy of a process that other tests have filled with threads need not run on.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ALONE = Path(__file__).with_name("forks_alone.py")


def test_copies_work_where_nothing_else_was_done_before() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", str(ALONE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
