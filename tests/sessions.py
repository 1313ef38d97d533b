"""Programs on a terminal of their own: a command comes in, what it wrote goes out."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from screen import Screen

PATIENCE_SECONDS = 60.0


class Session:
    """A program whose three streams are one terminal."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        *,
        columns: int = 80,
        rows: int = 24,
        environment: dict[str, str] | None = None,
        stdout: Any = None,
    ) -> None:
        self.screen = Screen(columns, rows)
        self.raw = b""
        self.master, slave = pty.openpty()
        self.resize(columns, rows)
        env = {**os.environ, "TERM": "xterm", "PYTHONUTF8": "1"} | (environment or {})
        env.pop("PYTHONUNBUFFERED", None)
        for name, value in list(env.items()):
            if value == "":
                del env[name]
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave if stdout is None else stdout,
            stderr=slave,
            cwd=folder,
            env=env,
            start_new_session=True,
            preexec_fn=_own_terminal,
        )
        os.close(slave)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)

    def resize(self, columns: int, rows: int) -> None:
        self.screen.columns, self.screen.rows = columns, rows
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, size)

    def until(self, seen: Callable[[Screen], bool]) -> Screen:
        """Read until something is on the screen."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not seen(self.screen):
            if not self._read(end):
                raise AssertionError(f"never seen; on the screen:\n{self.screen.text}")
        return self.screen

    def done(self) -> Screen:
        """Read until the program has ended."""
        end = time.monotonic() + PATIENCE_SECONDS
        while self._read(end):
            pass
        self.process.wait(PATIENCE_SECONDS)
        return self.screen

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def interrupt(self) -> None:
        os.write(self.master, b"\x03")

    def _read(self, end: float) -> bool:
        """Whether more was written before the program ended."""
        left = max(end - time.monotonic(), 0.0)
        ready, _, _ = select.select([self.master], [], [], left)
        if not ready or not left:
            raise AssertionError(f"nothing more comes; there is:\n{self.screen.text}")
        try:
            data = os.read(self.master, 65536)
        except OSError:  # nobody holds the other end
            return False
        self.raw += data
        self.screen.feed(data)
        return bool(data)


def _own_terminal() -> None:
    """Make the terminal the one whose Ctrl-C reaches the program."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
