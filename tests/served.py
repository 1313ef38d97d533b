"""Records to show, the dashboard's application asked in memory, and a real server."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import numpy as np
import pytest

from surefoot.dashboard.guard import hosts
from surefoot.dashboard.server import application
from surefoot.diagnosis.examine import examine
from surefoot.diagnosis.stored import KEY, to_store
from surefoot.record.reader import RecordReader
from surefoot.record.writer import RecordWriter
from surefoot.types import RUN, Event, Series

PORT = 7999
PATIENCE = 20.0
"""Seconds after which a test gives up waiting: far above what anything takes."""


# --- records ----------------------------------------------------------------------


def block(quantity: str, start: int, count: int, **more: Any) -> Series:
    """Readings of a loss that falls, or of two layers' gradient norms."""
    layers = RUN if quantity == "loss" else ("fc.weight", "fc.bias")
    steps = np.arange(start, start + count, dtype=np.int64)
    values = np.tile(2.0 * np.exp(-steps / 80.0)[:, None] + 0.1, (1, len(layers)))
    return Series(quantity, layers, steps, values.astype(np.float32), **more)


def writer_of(path: Path, **meta: Any) -> RecordWriter:
    parameter = {"name": "fc.weight", "module": "fc", "size": 10}
    facts = {"main": {"stream": "main", "model": "Net", "parameters": [parameter]}}
    return RecordWriter(path, {"script": "net.py", "streams": facts, **meta})


def write_run(
    folder: Path, name: str, *, steps: int = 200, broken: bool = False
) -> Path:
    """An ended run without a last word: healthy, or turned NaN at step 120."""
    path = folder / f"{name}.surefoot"
    writer = writer_of(path)
    for quantity in ("loss", "grad_norm"):
        series = block(quantity, 0, steps)
        if broken:
            series.values[120:] = np.nan if quantity == "loss" else np.inf
        writer.append(series)
    if broken:
        body = {"module": "fc", "operation": "log", "direction": "forward"}
        writer.event(Event(120, "nonfinite", {**body, "certain": True}))
    writer.event(Event(steps, "end", {"status": "finished"}))
    writer.close()
    return path


def write_judged_run(folder: Path, name: str, **how: Any) -> Path:
    """An ended run whose lookout left its last word in the record."""
    path = write_run(folder, f"{name}-draft", **how)
    with RecordReader(path) as reader:
        word = to_store(examine(reader), how.get("steps", 200))
    path.unlink()
    kept = folder / f"{name}.surefoot"
    draft = write_run(folder, f"{name}-draft", **how)
    with RecordReader(draft) as reader:
        meta = {**reader.meta, KEY: word}
        blocks = [reader.series(one) for one in reader.quantities()]
        events = reader.events()
    draft.unlink()
    writer = RecordWriter(kept, meta)
    for one in blocks:
        writer.append(one)
    for one in events:
        writer.event(one)
    writer.close()
    return kept


# --- the application in memory ----------------------------------------------------


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body, parse_constant=pytest.fail)

    @property
    def error(self) -> str:
        assert set(self.json) == {"error"}
        return self.json["error"]


class Asked:
    """The application of a folder; `get` gives it one request, as raw as need be."""

    def __init__(self, folder: Path) -> None:
        # On a thread of its own: a browser's driver may hold this one's loop.
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._app = application(folder, hosts(PORT))
        self._inbox: asyncio.Queue[Any] = asyncio.Queue()
        self._outbox: asyncio.Queue[Any] = asyncio.Queue()
        self._life = asyncio.run_coroutine_threadsafe(self._live(), self._loop)
        self.run(self._tell("lifespan.startup"))

    async def _live(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}}
        await self._app(scope, self._inbox.get, self._outbox.put)

    async def _tell(self, what: str) -> None:
        await self._inbox.put({"type": what})
        assert (await self._outbox.get())["type"] == f"{what}.complete"

    def close(self) -> None:
        self.run(self._tell("lifespan.shutdown"))
        self._life.result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, task: Any) -> Any:
        """What a coroutine comes to, on the application's own loop."""
        return asyncio.run_coroutine_threadsafe(task, self._loop).result(PATIENCE)

    def get(
        self,
        target: str,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        body: bytes = b"",
    ) -> Reply:
        told = {"host": f"127.0.0.1:{PORT}"} | (headers or {})
        raw = [(k.encode(), v.encode("latin-1")) for k, v in told.items() if v]
        return self.run(self._get(target, method, raw, body))

    async def _get(self, target: str, method: str, headers: Any, given: bytes) -> Reply:
        path, _, query = target.partition("?")
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "http.request", "body": given, "more_body": False}

        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode("utf-8", "surrogateescape"),
            "query_string": query.encode("utf-8", "surrogateescape"),
            "root_path": "",
            "headers": headers,
            "client": ("127.0.0.1", 5),
            "server": ("127.0.0.1", PORT),
        }
        await self._app(scope, receive, send)
        start = next(one for one in sent if one["type"] == "http.response.start")
        body = b"".join(one.get("body", b"") for one in sent)
        known = {k.decode().lower(): v.decode("latin-1") for k, v in start["headers"]}
        return Reply(start["status"], known, body)

    def until(self, target: str, wanted: Callable[[Any], bool]) -> Any:
        """Ask until the answer is as wanted."""
        end = time.monotonic() + PATIENCE
        while not wanted(found := self.get(target).json):
            assert time.monotonic() < end, found
            time.sleep(0.05)
        return found


# --- a real server ----------------------------------------------------------------


class Served:
    """`surefoot ui` as a process of its own."""

    def __init__(self, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "surefoot", "ui", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()

    @property
    def host(self) -> str:
        return urlsplit(self.address).netloc

    def get(self, target: str, **headers: str) -> Reply:
        """One request over a socket, its target as it stands."""
        line = http.client.HTTPConnection(self.host, timeout=PATIENCE)
        try:
            line.putrequest("GET", target, skip_host="host" in headers)
            for name, value in headers.items():
                line.putheader(name, value)
            line.endheaders()
            reply = line.getresponse()
            known = {k.lower(): v for k, v in reply.getheaders()}
            return Reply(reply.status, known, reply.read())
        finally:
            line.close()

    def end(self, sign: int = signal.SIGINT) -> int:
        """Send it a signal; its exit status."""
        self.process.send_signal(sign)
        self.process.communicate(timeout=PATIENCE)
        return self.process.returncode

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


class News:
    """A stream of server-sent events, read by a thread."""

    def __init__(self, server: Served, run: str | None = None) -> None:
        self._line = http.client.HTTPConnection(server.host, timeout=PATIENCE)
        query = "" if run is None else f"?run={quote(run)}"
        self._line.request("GET", f"/api/news{query}")
        self._socket = self._line.sock  # the reply takes it over
        self._reply = self._line.getresponse()
        self.status = self._reply.status
        self.headers = {k.lower(): v for k, v in self._reply.getheaders()}
        self._told: queue.Queue[Any] = queue.Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        name = ""
        try:
            while text := self._reply.readline().decode():
                key, _, value = text.rstrip("\n").partition(": ")
                if key == "event":
                    name = value
                elif key == "data":
                    self._told.put((name, json.loads(value)))
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            pass
        self._told.put(("closed", None))

    def next(self) -> tuple[str, Any]:
        return self._told.get(timeout=PATIENCE)

    def until(self, wanted: Callable[[Any], bool]) -> Any:
        """The next message that is as wanted."""
        while True:
            name, body = self.next()
            assert name != "closed"
            if wanted(body):
                return body

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._reply.close()
        self._line.close()
