"""`surefoot ui`: a folder comes in, a server on this machine runs until Ctrl-C.

A program of its own (`python -m surefoot.dashboard`), so that the other verbs need
none of its packages. It never imports torch.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import socket
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from surefoot.dashboard.guard import hosts
from surefoot.dashboard.server import application
from surefoot.record.folder import DEFAULT_FOLDER
from surefoot.report.page import AssetsError

USAGE = 2
LOOPBACK = ("127.0.0.1", "localhost", "::1")
USUAL_PORT = 7473
"""Tried first, so that a page that was left open finds the next server; any free one
is as good."""

_MALLOC = ((-8, 1), (-3, 2**26), (-1, 2**27), (-2, 2**24))
"""Settings of glibc's malloc (mallopt(3)): one arena, since one thread computes at a
time; blocks of up to 64 MB from it, trimmed above 128 MB, grown by 16 MB. Otherwise
each array of a map is a mapping of its own, which the system makes and clears anew:
a seventh of the CPU time of an answer (benchmarks/dashboard)."""

PATIENCE_SECONDS = 3
"""How long the end waits for answers under way."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve a folder until Ctrl-C; status 2 where that cannot be done."""
    options = _parser().parse_args(arguments)
    folder = Path(options.folder).expanduser().absolute()
    try:
        if folder.exists() and not folder.is_dir():
            raise OSError(f"{folder} is no folder; expected one with *.surefoot files")
        listening = bound(options.host, options.port)
    except (OSError, OverflowError) as error:
        sys.stderr.write(f"surefoot: {error}\n")
        return USAGE
    with listening:
        _keep_memory()
        try:
            return serve(folder, listening, browser=not options.no_browser)
        except AssetsError as error:
            sys.stderr.write(f"surefoot: {error}\n")
            return USAGE


def serve(folder: Path, listening: socket.socket, *, browser: bool) -> int:
    """Answer on a socket that is bound until Ctrl-C; tells the address first.

    Raises:
        AssetsError: the page's script and style were not built.
    """
    name, port = listening.getsockname()[:2]
    config = uvicorn.Config(
        "",
        log_level="warning",
        access_log=False,
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=PATIENCE_SECONDS,
    )
    server = uvicorn.Server(config)
    config.app = application(folder, hosts(port), ended=lambda: server.should_exit)
    shown = f"[{name}]" if ":" in name else name
    address = f"http://{shown}:{port}/"
    sys.stdout.write(f"{address}\nruns of {folder}; end with Ctrl-C\n")
    sys.stdout.flush()
    if browser and _has_screen():
        webbrowser.open(address)
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listening])
    return 0


def bound(host: str, port: int | None) -> socket.socket:
    """A socket of this machine alone that hears already; `port` None: any free one.

    Raises:
        OSError: the port is in use, or may not be used; the message says what to do.
    """
    if port is not None:
        return _bound(host, port)
    with contextlib.suppress(OSError):
        return _bound(host, USUAL_PORT)
    return _bound(host, 0)


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Told that it is TCP, or asyncio leaves its delays on: 40 ms for each answer.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere it lets two servers share a port
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(128)
    except OSError as error:
        made.close()
        raise OSError(
            f"port {port} cannot be used ({error.strerror}); expected a free one; "
            "choose another with --port, or leave it out to have one chosen"
        ) from error
    return made


def _keep_memory() -> None:
    """Use memory again instead of giving it back, where the C library is glibc."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        settle = ctypes.CDLL(None).mallopt
        for setting, value in _MALLOC:
            settle(setting, value)


def _has_screen() -> bool:
    """Whether a browser has somewhere to open: one of text takes the terminal."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(
        f"{text!r} came; expected a port from 1 to 65535, or 0 for any free one"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="surefoot ui",
        description="Show the runs of a folder in a browser, live and afterwards.",
    )
    parser.add_argument(
        "folder", nargs="?", default=DEFAULT_FOLDER, help="where the records are"
    )
    parser.add_argument(
        "--port", type=_port, default=None, help="where to listen; else a free one"
    )
    parser.add_argument(
        "--host",
        choices=LOOPBACK,
        default=LOOPBACK[0],
        help="a name of this machine for itself; to look from another one, forward "
        "the port: ssh -L PORT:127.0.0.1:PORT MACHINE",
    )
    parser.add_argument(
        "--no-browser", action="store_true", help="print the address and no more"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
