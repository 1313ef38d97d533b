"""The program's own streams come in, streams that a view knows of go out.

Seen is all that goes through `sys.stdout`, `sys.stderr` and what a script puts in
their place. What a child process writes is not: it lands where the view begins, and
the next drawing covers what is left of the view.
"""

from __future__ import annotations

import builtins
import io
import os
import sys
from collections.abc import Callable
from typing import Any, cast

from surefoot.terminal.view import View, is_terminal


def listen(view: View) -> None:
    """Let a view step aside for all that this process writes to the terminal.

    `sys.stdout` and `sys.stderr` become streams of the same kind and settings on the
    same descriptors; a program that replaces or wraps them still writes through
    these. Those that are no terminal stay as they are.
    """
    if not view.manner.drawing:
        return
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper) and is_terminal(stream):
            heard = _heard(stream, view)
            if getattr(sys, f"__{name}__") is stream:
                setattr(sys, f"__{name}__", heard)
            setattr(sys, name, heard)
    if isinstance(sys.stdin, io.TextIOWrapper) and is_terminal(sys.stdin):
        sys.stdin = _asked(sys.stdin, view)
        # With both ends on a terminal, `input` reads past sys.stdin.
        builtins.input = _asking(builtins.input, view)


class _Heard(io.FileIO):
    """A terminal that a view shares; the original stream keeps it open."""

    def __init__(self, original: io.TextIOWrapper, view: View, mode: str) -> None:
        super().__init__(original.fileno(), mode, closefd=False)
        self.name = original.name
        self._view = view
        self._original = original

    def write(self, data: Any, /) -> int:
        """Write, with the view out of the way."""
        return cast(int, self._view.beside(bytes(data), super().write))

    def readinto(self, buffer: Any, /) -> int:
        """Read what a person types, with the view out of the way."""
        with self._view.reading():
            return cast(int, super().readinto(buffer))


def _heard(stream: io.TextIOWrapper, view: View) -> io.TextIOWrapper:
    """A stream like this one that a view knows of."""
    stream.flush()
    raw = _Heard(stream, view, "w")
    unbuffered = isinstance(stream.buffer, io.RawIOBase)
    return _text(stream, cast(Any, raw if unbuffered else io.BufferedWriter(raw)))


def _asked(stream: io.TextIOWrapper, view: View) -> io.TextIOWrapper:
    return _text(stream, io.BufferedReader(_Heard(stream, view, "r")))


def _text(stream: io.TextIOWrapper, buffer: Any) -> io.TextIOWrapper:
    """A text stream with the settings of another."""
    made = io.TextIOWrapper(
        buffer,
        encoding=stream.encoding,
        errors=stream.errors,
        newline=None if os.linesep != "\n" else "\n",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
    cast(Any, made).mode = cast(Any, stream).mode
    return made


def _asking(original: Callable[[object], str], view: View) -> Callable[..., str]:
    def input(prompt: object = "", /) -> str:
        with view.reading():
            return original(prompt)

    input.__doc__ = original.__doc__
    return input
