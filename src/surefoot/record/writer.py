"""Series and events come in from the training thread, one record file goes out.

The training thread only copies a block into a bounded queue; a daemon thread owns
the file and commits about twice a second. No fault of the disk ever reaches the
caller after the constructor: it is told in `trouble`, counted in `dropped`, tried
again sparsely, and training goes on.
"""

from __future__ import annotations

import ctypes
import os
import sqlite3
import threading
import weakref
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from surefoot.record import liveness
from surefoot.record.feed import QUEUE_BYTES, Feed
from surefoot.record.rows import FieldText, encoded
from surefoot.record.schema import UNKNOWN_VERSION, RecordError
from surefoot.record.store import Block, Happening, Meta, Picture, Store, plain
from surefoot.types import Event, Field, Series


class RecordWriter:
    """Writes one new record; safe to call from any thread, inert after a fork.

    `dropped` counts blocks and events that are lost for good, `trouble` says in
    plain words what is or was wrong, None if nothing was lost.

    Raises:
        RecordError: the file cannot be made; before any training took place.
    """

    def __init__(
        self,
        path: str | Path,
        meta: Mapping[str, Any],
        *,
        queue_bytes: int = QUEUE_BYTES,
    ) -> None:
        self.path = Path(path).absolute()
        self._process = os.getpid()
        store = _new_store(self.path, meta)
        self._feed = Feed(store, queue_bytes)
        threading.Thread(
            target=self._feed.run, name="surefoot-record", daemon=True
        ).start()
        # Runs when the writer is forgotten and, at the latest, at interpreter exit.
        self._end = weakref.finalize(self, _ended, self._feed, self._process)
        os.register_at_fork(after_in_child=partial(_leaked, weakref.ref(store)))

    @property
    def dropped(self) -> int:
        """How many blocks and events were lost for good."""
        return self._feed.dropped

    @property
    def trouble(self) -> str | None:
        """What is or was wrong, in plain words; None if nothing was lost."""
        return self._feed.trouble

    def append(self, series: Series) -> None:
        """Queue one block of readings, steps `[n]`, values `[n, L]`; never raises.

        The arrays are copied, so the caller may fill them again at once.
        """
        if os.getpid() != self._process:
            return
        try:
            values = np.array(series.values, dtype="<f4", order="C")
            steps = np.array(series.steps, dtype="<i8")
        except (TypeError, ValueError, OverflowError) as error:
            self._feed.drop(f"{series.quantity}: {error}")
            return
        if values.shape != (len(steps), len(series.layers)) or steps.ndim != 1:
            self._feed.drop(
                f"a block of {series.quantity} came with values of shape "
                f"{values.shape}, expected [{len(steps)} steps, "
                f"{len(series.layers)} layers]; it was left out"
            )
        elif len(steps):
            block = Block(series.stream, series.quantity, series.layers, steps, values)
            self._feed.put(block, values.nbytes + steps.nbytes)

    def event(self, event: Event) -> None:
        """Queue one event; a body that is no JSON is kept as text. Never raises."""
        if os.getpid() == self._process:
            body = plain(dict(event.body))
            self._feed.put(
                Happening(int(event.step), event.stream, event.kind, body), len(body)
            )

    def field(self, field: Field) -> None:
        """Queue one histogram, spectrum or surface; never raises.

        Its numbers are copied; a shape that does not fit its axes is refused.
        """
        if os.getpid() != self._process:
            return
        try:
            values = np.array(field.values, dtype="<f4", order="C")
            axes = {name: list(ticks) for name, ticks in field.axes.items()}
        except (TypeError, ValueError, OverflowError) as error:
            self._feed.drop(f"{field.kind}: {error}")
            return
        expected = tuple(map(len, axes.values()))
        if values.shape != expected:
            self._feed.drop(
                f"a field {field.kind!r} came with values of shape {values.shape}, "
                f"expected {expected}, the lengths of its axes; it was left out"
            )
            return
        text = FieldText(
            int(field.step), field.stream, field.kind,
            plain(list(axes.items())), plain(dict(field.about)),
        )  # fmt: skip
        size = values.nbytes + len(text.axes) + len(text.about)
        self._feed.put(Picture(text, values), size)

    def put_meta(self, key: str, value: Any) -> None:
        """Queue a value of `meta`; a later one of the same key replaces it."""
        if os.getpid() == self._process:
            text = plain(value)
            self._feed.put(Meta(key, text), len(text))

    def flush(self, timeout_seconds: float = 5.0) -> bool:
        """Wait until all that was queued is committed; False if it is not by then."""
        if os.getpid() != self._process:
            return False
        return self._feed.flushed(timeout_seconds)

    def close(self, timeout_seconds: float = 10.0) -> None:
        """Commit what is queued and leave one plain file; later calls do nothing.

        Never raises; what the disk refuses until then is counted in `dropped`.
        """
        if os.getpid() == self._process:
            self._end.detach()
            self._feed.close(timeout_seconds)


def _new_store(path: Path, meta: Mapping[str, Any]) -> Store:
    described: dict[str, Any] = {
        "created": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "surefoot": _version(),
        **meta,
        "writer": liveness.signature_of(),
    }
    try:
        texts = {key: encoded(value) for key, value in described.items()}
    except (TypeError, ValueError) as error:
        raise RecordError(
            f"{path}: the run's description cannot be written as JSON ({error}); "
            "expected strings, numbers, lists and objects with string keys"
        ) from error
    if os.path.lexists(path):
        raise RecordError(
            f"{path} cannot be made: something of that name is there already; "
            "expected a new path; give the run another name or folder"
        )
    try:
        return Store(path, texts)
    except (OSError, sqlite3.Error, ValueError) as error:
        raise RecordError(
            f"{path} cannot be written ({error}); expected a folder that can be "
            "made and written; choose another one, or free some space"
        ) from error


def _version() -> str:
    try:
        return metadata.version("surefoot")
    except metadata.PackageNotFoundError:  # run from a bare source tree
        return UNKNOWN_VERSION


def _ended(feed: Feed, process: int) -> None:
    """What happens to a writer that nobody closed."""
    if os.getpid() == process:
        feed.close(timeout_seconds=5.0)


def _leaked(reference: weakref.ref[Store]) -> None:
    """In a forked child: the connection must not be closed there, not even at exit.

    A lock inside it may be held for ever by the writer thread, which the child does
    not have (sqlite.org/howtocorrupt.html, "carrying an open database across a
    fork"). One reference too many keeps it from being collected.
    """
    store = reference()
    if store is not None and store.connection is not None:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(store.connection))
