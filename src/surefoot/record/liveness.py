"""Whether the process that writes a record still lives: meta in, yes or no out.

The writer signs its record with host, boot, process id and start time, and renews
a heartbeat. On the same machine the process table decides, elsewhere the heartbeat.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HEARTBEAT_SECONDS = 5.0
"""How often the writer says that it lives."""

SILENCE_SECONDS = 12 * HEARTBEAT_SECONDS
"""A writer on another machine that was silent for so long is taken for dead: twelve
heartbeats, which is above the longest stall of a commit that we have seen (a lock
that is waited for, `schema.BUSY_SECONDS`) plus a minute's difference of clocks."""


def signature_of(process: int | None = None) -> dict[str, Any]:
    """Who writes: host, boot, process id, its start (in ticks), heartbeat (Unix s)."""
    process = os.getpid() if process is None else process
    return {
        "host": socket.gethostname(),
        "boot": _text("/proc/sys/kernel/random/boot_id"),
        "pid": process,
        "started": _started(process),
        "heartbeat": time.time(),
    }


def lives(signature: Mapping[str, Any], now: float | None = None) -> bool:
    """Whether the process that signed still runs, as far as can be told from here.

    >>> lives(signature_of())
    True
    """
    process = signature.get("pid")
    here = signature_of()
    if (
        isinstance(process, int)
        and signature.get("host") == here["host"]
        and signature.get("boot") == here["boot"]
    ):
        return _runs(process, signature.get("started"))
    heartbeat = signature.get("heartbeat")
    if not isinstance(heartbeat, int | float):
        return False
    return (time.time() if now is None else now) - heartbeat < SILENCE_SECONDS


def _runs(process: int, started: Any) -> bool:
    """A process of this id runs, is no zombie, and is no later one of the same id."""
    if process <= 0:
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):  # no process has so large a number
        return False
    except OSError:  # it runs, but belongs to somebody else
        return True
    fields = _stat(process)
    if not fields:
        return True
    return fields[0] not in "ZX" and (started is None or fields[19] == started)


def _started(process: int) -> str | None:
    fields = _stat(process)
    return fields[19] if fields else None


def _stat(process: int) -> list[str]:
    """Fields of `/proc/<pid>/stat` after the command (proc(5): state is first)."""
    fields = _text(f"/proc/{process}/stat").rpartition(")")[2].split()
    return fields if len(fields) > 19 else []


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
