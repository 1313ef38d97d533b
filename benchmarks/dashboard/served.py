"""A dashboard in a process of its own: a folder comes in, what it costs goes out."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

PATIENCE_SECONDS = 600.0
"""How long the examination of a large record may take before we go on without it."""


class Server:
    """`surefoot ui` of a folder, and its clocks. A context manager."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "surefoot.dashboard", str(folder)]
        self._process = subprocess.Popen(
            [*command, "--no-browser", "--port", "0"], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().strip()
        if not self.address.startswith("http"):
            raise RuntimeError(f"the dashboard of {folder} did not start; see above")
        self.host = urlsplit(self.address).netloc
        # Kept open, as a browser keeps it.
        self._line = http.client.HTTPConnection(self.host, timeout=60)

    def get(self, target: str) -> Any:
        """The JSON that is answered.

        Raises:
            RuntimeError: the answer is an error.
        """
        try:
            reply, body = self._asked(target)
        except (http.client.HTTPException, ConnectionError):  # closed, being idle
            self._line.close()
            reply, body = self._asked(target)
        if reply.status != 200:
            raise RuntimeError(f"{target} was answered {reply.status}: {body[:300]!r}")
        return json.loads(body) if body[:1] in b"{[n" else body

    def _asked(self, target: str) -> tuple[http.client.HTTPResponse, bytes]:
        self._line.request("GET", target)
        reply = self._line.getresponse()
        return reply, reply.read()

    def examined(self, run: str) -> float:
        """Seconds until the verdict on a run is there; infinite if it does not come."""
        start = time.perf_counter()
        while time.perf_counter() - start < PATIENCE_SECONDS:
            if (
                self.get(f"/api/run/{quote(run)}/verdict")["judged"]["state"]
                != "pending"
            ):
                return time.perf_counter() - start
            time.sleep(0.5)
        return float("inf")

    def cpu_of(self, question: Callable[[], Any], times: int) -> float:
        """CPU seconds of the server that one question costs, mean over `times`."""
        before = self.cpu_seconds()
        for _ in range(times):
            question()
        return (self.cpu_seconds() - before) / times

    def cpu_seconds(self) -> float:
        """CPU time of all threads; not that of the process that examines."""
        return cpu_seconds(self._process.pid)

    def memory_mb(self) -> float:
        """The most memory that it has held."""
        return memory_mb(self._process.pid)

    def close(self) -> None:
        """Kill it."""
        self._line.close()
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def cpu_seconds(pid: int) -> float:
    """CPU seconds of a process since it began.

    The kernel counts them in ns for each thread that lives; those of the dashboard
    live as long as it does.
    """
    found = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        found += int((thread / "schedstat").read_text().split()[0])
    return found / 1e9


def memory_mb(pid: int) -> float:
    """Largest resident memory of a process, in MB."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", text)
    return int(found[1]) * 1024 / 1e6 if found else float("nan")


def children(pid: int) -> list[int]:
    """A process and all that it started."""
    found = [pid]
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it ended meanwhile
            continue
        if parent == pid:
            found += children(int(path.parent.name))
    return found


def quiet_environment() -> dict[str, str]:
    """The environment without words that are not ours."""
    return {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}
