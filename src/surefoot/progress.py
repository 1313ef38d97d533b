"""How far a run is: a Run comes in, lines on standard error go out."""

from __future__ import annotations

import sys
import threading
import time

from surefoot.report.text import progress_line
from surefoot.run import Run
from surefoot.types import Diagnosis

FIRST_LINE_SECONDS = 0.5
SLOWEST_LINE_SECONDS = 30.0
REDRAW_SECONDS = 0.5


class Progress:
    """Says how far a run is, on standard error, from a thread of its own.

    On a terminal one line is drawn again and again; elsewhere plain lines come ever
    more rarely, so that a log stays short.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._terminal = sys.stderr.isatty()
        self._started = time.monotonic()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._tell, daemon=True)
        self._thread.start()

    def alarm(self, diagnosis: Diagnosis) -> None:
        """Say one alarm on a line of its own."""
        self._say(
            f"surefoot: {diagnosis.cause} in {diagnosis.layer} since step "
            f"{diagnosis.onset} ({diagnosis.confidence:.0%} sure)",
            keep=True,
        )

    def stop(self) -> None:
        """Stop; the line on the terminal is wiped."""
        self._done.set()
        self._thread.join()
        if self._terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def _tell(self) -> None:
        wait = REDRAW_SECONDS if self._terminal else FIRST_LINE_SECONDS
        while not self._done.wait(wait):
            self._say(self._line(), keep=not self._terminal)
            if not self._terminal:
                wait = min(2 * wait, SLOWEST_LINE_SECONDS)

    def _line(self) -> str:
        """The state of the run in one line."""
        block = next(iter(self._run.losses.values()), None)
        losses = [] if block is None else block.values[:, 0].tolist()
        step, elapsed = self._run.last_step, time.monotonic() - self._started
        return progress_line(step, losses, step / elapsed if elapsed > 0 else None)

    def _say(self, text: str, *, keep: bool) -> None:
        start = "\r\x1b[K" if self._terminal else ""
        sys.stderr.write(f"{start}{text}" + ("\n" if keep else ""))
        sys.stderr.flush()
