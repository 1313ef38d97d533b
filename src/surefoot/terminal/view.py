"""A few lines that redraw in place below whatever else a terminal is written.

Lines of a view and text of a program come in, bytes for the terminal go out. The
cursor rests in an empty row above the view, so that everything the program writes
lands where it would without a view, and wiping never touches that row or those above:
a line that a child process writes unseen stays whole.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from surefoot.terminal.written import Written, after_text

FIRST_LINE_SECONDS = 0.5
SLOWEST_LINE_SECONDS = 30.0
NARROWEST = 20
PLAIN_COLUMNS = 80


@dataclass(frozen=True, slots=True)
class Manner:
    """How a stream may be written to: redrawn in place, coloured, ASCII only."""

    drawing: bool
    colour: bool
    ascii_only: bool


def manner_of(
    stream: IO[str], environment: Mapping[str, str], beside: IO[str] | None = None
) -> Manner:
    """The manner that a stream and the environment allow.

    `beside` is where the program's own output goes. If that is a pipe, as in
    `surefoot run train.py | tee log`, somebody may write it to the same terminal
    unseen: nothing is redrawn then.
    """
    dumb = environment.get("TERM", "dumb") in ("", "dumb")
    able = is_terminal(stream) and not dumb
    drawing = able and not _is_pipe(beside)
    colour = able and not environment.get("NO_COLOR")
    try:
        "▁█×…·".encode(_encoding(stream))
    except (UnicodeEncodeError, LookupError):
        return Manner(drawing, colour, ascii_only=True)
    return Manner(drawing, colour, ascii_only=False)


class View:
    """The lines, and what stands on the terminal beside them; safe from any thread.

    Where nothing may be redrawn, plain lines come ever more rarely instead, so that
    a log stays short.
    """

    def __init__(
        self,
        stream: IO[str],
        manner: Manner,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.manner = manner
        self._descriptor = _descriptor(stream)
        self._stream = stream
        self._encoding = _encoding(stream)
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._written = Written()
        self._shown: tuple[str, ...] = ()
        self._waiting: list[str] = []
        self._reading = 0
        self._gone = False
        self._clock = clock
        self._pause = FIRST_LINE_SECONDS
        self._due = clock() + FIRST_LINE_SECONDS

    @property
    def width(self) -> int:
        """Columns that a line may have: one is left, where terminals would wrap."""
        return self._size().columns - 1

    def show(self, lines: Sequence[str], plain: str) -> None:
        """Draw the lines if there is room for them, or write `plain` if it is time."""
        with self._lock:
            if self.manner.drawing:
                self._draw(tuple(lines[: max(self._size().lines - 2, 0)]))
            elif self._clock() >= self._due:
                self._due = self._clock() + self._pause
                self._pause = min(2 * self._pause, SLOWEST_LINE_SECONDS)
                self._put_plain(plain)

    def keep(self, text: str) -> None:
        """Write a line that stays, above the view and above any progress bar."""
        with self._lock:
            if not self.manner.drawing:
                self._put_plain(text)
                return
            self._waiting.append(text)
            self._release()

    def line(self, text: str) -> None:
        """Write a line to the stream itself, which the view does not share."""
        with self._lock:
            self._wipe()
            self._put_plain(text)

    def clear(self) -> None:
        """Wipe the view; what still waits is written."""
        with self._lock:
            self._wipe()
            self._release()
            for text in self._waiting:
                self._put(f"{text}\r\n")
            self._waiting.clear()

    def beside(self, data: bytes, write: Callable[[bytes], int | None]) -> int | None:
        """Step aside for something the program writes; how much it wrote goes out."""
        if os.getpid() != self._process:  # a fork has no view, and locks may be held
            return write(data)
        with self._lock:
            self._wipe()
            count = write(data)
            text = data[: count or 0].decode(self._encoding, "replace")
            self._written = after_text(self._written, text)
            self._release()
            return count

    @contextmanager
    def reading(self) -> Generator[None]:
        """Step aside while the program waits for what a person types."""
        if os.getpid() != self._process:
            yield
            return
        with self._lock:
            self._wipe()
            self._reading += 1
        try:
            yield
            with self._lock:  # Enter was typed, which the terminal echoed
                self._written = Written()
        finally:
            with self._lock:
                self._reading -= 1

    # --- with the lock held -----------------------------------------------------

    def _draw(self, lines: tuple[str, ...]) -> None:
        free = self._written.free and not self._reading
        if not free or not lines or self._gone:
            return
        body = "".join(f"\r\n{line}\x1b[K" for line in lines)
        # Before it is drawn: a Ctrl-C in between must not leave it there.
        self._shown = lines
        self._put(f"{body}\x1b[J\x1b[{len(lines)}A\r")

    def _wipe(self) -> None:
        if self._shown:
            self._put("\r\n\x1b[J\x1b[A\r")
            self._shown = ()

    def _release(self) -> None:
        """Write the lines that wait, unless it is not known where the cursor is."""
        if self._reading or not self._written.restorable:
            return
        if not self._waiting:
            return
        shown = self._shown
        self._wipe()
        lines = "".join(f"{text}\r\n" for text in self._waiting)
        self._waiting.clear()
        if self._written.free:
            self._put(lines)
            self._draw(shown)
        else:
            self._put(f"\r\x1b[J{lines}{self._written.restored()}")

    def _put_plain(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # closed, or its reader is gone
            self._stream.write(f"{self._encodable(text)}\n")
            self._stream.flush()

    def _put(self, text: str) -> None:
        self._send(text.encode(self._encoding, "replace"))

    def _send(self, data: bytes) -> None:
        if self._descriptor is None:
            return
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:  # the terminal is gone; the program goes on
            self._gone = True

    def _encodable(self, text: str) -> str:
        return text.encode(self._encoding, "replace").decode(self._encoding)

    def _size(self) -> os.terminal_size:
        if self._descriptor is None or not self.manner.drawing:
            return os.terminal_size((PLAIN_COLUMNS + 1, 24))
        try:
            size = os.get_terminal_size(self._descriptor)
        except OSError:
            return os.terminal_size((PLAIN_COLUMNS + 1, 24))
        # A terminal that never told its size has 0 columns.
        columns = size.columns or PLAIN_COLUMNS + 1
        return os.terminal_size((max(columns, NARROWEST), size.lines or 24))


# --- streams --------------------------------------------------------------------


def is_terminal(stream: IO[str]) -> bool:
    """Whether a person sees what is written to a stream."""
    try:
        return stream.isatty()
    except (ValueError, AttributeError):  # closed, or no stream at all
        return False


def _is_pipe(stream: IO[str] | None) -> bool:
    descriptor = None if stream is None else _descriptor(stream)
    return descriptor is not None and stat.S_ISFIFO(os.fstat(descriptor).st_mode)


def _descriptor(stream: IO[str]) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None


def _encoding(stream: IO[str]) -> str:
    return getattr(stream, "encoding", None) or "ascii"
