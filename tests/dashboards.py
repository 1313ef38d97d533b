"""A real `surefoot ui`, which may be killed: a folder comes in, addresses go out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Self
from urllib.parse import quote


class Dashboard:
    """A server in a process of its own; `address` ends with a slash.

    Started again after `kill`, it listens on the same port.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = 0
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "surefoot", "ui", str(self._folder)]
        self._process = subprocess.Popen(
            [*command, "--no-browser", "--port", str(self._port)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=self._folder.parent,
        )
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().strip()
        assert self.address.startswith("http://"), "its stderr says why"
        self._port = int(self.address.rstrip("/").rpartition(":")[2])

    def kill(self) -> None:
        """As when a machine goes down: nothing is said to anybody."""
        self._process.kill()
        self._process.communicate()

    def of(self, run: str) -> str:
        """The address of a run's page."""
        return f"{self.address}#/run/{quote(run)}"

    def comparison(self, *runs: str, quantity: str = "loss") -> str:
        """The address of several runs side by side."""
        named = "&".join(f"run={quote(run)}" for run in runs)
        return f"{self.address}#/compare?{named}&quantity={quantity}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()
