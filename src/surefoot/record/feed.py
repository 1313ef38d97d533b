"""Entries come in from any thread at once, batches go out to the store on one thread.

The queue is bounded, so a slow or full disk costs readings, never training time or
memory without end.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from surefoot.record import liveness
from surefoot.record.rows import encoded
from surefoot.record.store import Entry, Meta, Store, StoreError

COMMIT_SECONDS = 0.25
"""Time between commits: a killed process loses at most this much, plus what was not
handed over yet; a quarter of the one second that is promised."""

QUEUE_BYTES = 64 * 2**20
"""Readings held in memory while the disk is slow or full; what comes after is
dropped. 64 MiB hold 4,000 steps of 200 layers x 20 quantities."""

RETRY_SECONDS = (0.5, 8.0)
"""First and longest wait after a fault; doubled each time in between."""

ENTRY_BYTES = 400
"""What an entry holds beside its readings (sys.getsizeof of its parts, rounded up)."""


class Feed:
    """The bounded queue, and the loop that empties it into the store.

    `dropped` counts blocks and events that are lost for good.
    """

    def __init__(self, store: Store, queue_bytes: int) -> None:
        self.dropped = 0
        self._store = store
        self._room = queue_bytes
        self._queue: deque[tuple[Entry, int]] = deque()
        self._pending: list[tuple[Entry, int]] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._rounds = threading.Condition()
        self._asked = self._answered = 0
        self._closing = self._closed = False
        self._fault: str | None = None
        self._loss: str | None = None
        self._told: tuple[int, str | None] = (0, None)
        self._due, self._wait = 0.0, RETRY_SECONDS[0]
        self._signed = time.monotonic()

    @property
    def trouble(self) -> str | None:
        """What is wrong now, and what was lost before, in plain words."""
        return "; ".join(filter(None, (self._loss, self._fault))) or None

    # --- any thread -------------------------------------------------------------

    def put(self, entry: Entry, size: int) -> None:
        """Queue an entry of `size` bytes, or count it as dropped."""
        size += ENTRY_BYTES
        with self._lock:
            if size <= self._room and not self._closing:
                self._room -= size
                self._queue.append((entry, size))
                return
            self.dropped += 1
            if not self._closing:
                self._loss = self._fault or (
                    f"{self._store.path}: the disk is too slow for all that is "
                    "recorded, some readings are left out; record to a faster disk"
                )

    def drop(self, reason: str, count: int = 1) -> None:
        """Count what cannot be recorded, and say why."""
        with self._lock:
            self.dropped += count
            self._loss = reason

    def flushed(self, timeout_seconds: float) -> bool:
        """Ask for a round now; whether all that was queued before is committed."""
        with self._rounds:
            self._asked += 1
            ticket = self._asked
            self._wake.set()
            answered = self._rounds.wait_for(
                lambda: self._answered >= ticket or self._closed, timeout_seconds
            )
            return answered and not self._pending

    def close(self, timeout_seconds: float) -> None:
        """End the loop after a last round."""
        with self._lock:
            self._closing = True
        self._wake.set()
        with self._rounds:
            self._rounds.wait_for(lambda: self._closed, timeout_seconds)

    # --- the writer's thread ----------------------------------------------------

    def run(self) -> None:
        """Commit until closed; then close the store."""
        while not self._closed:
            self._wake.wait(COMMIT_SECONDS)
            self._wake.clear()
            closing, asked = self._closing, self._asked
            self._round(urgent=closing or asked > self._answered)
            if closing:
                self._finish()
            with self._rounds:
                self._answered, self._closed = asked, closing
                self._rounds.notify_all()

    def _round(self, *, urgent: bool) -> None:
        """Hand what is queued to the store, unless a fault is to be waited out."""
        with self._lock:
            self._pending.extend(self._queue)
            self._queue.clear()
        now = time.monotonic()
        if not urgent and now < self._due:
            return
        entries = [entry for entry, _ in self._pending]
        beat = now - self._signed >= liveness.HEARTBEAT_SECONDS
        if beat:
            entries.append(Meta("writer", encoded(liveness.signature_of())))
        news = (self.dropped, self.trouble)
        if news != self._told and self._fault is None:
            entries.append(Meta("dropped", encoded(news[0])))
            entries.append(Meta("trouble", encoded(news[1])))
        if entries and self._commit(entries, now):
            self._told = news
            self._signed = now if beat else self._signed

    def _commit(self, entries: list[Entry], now: float) -> bool:
        """Whether the store took the entries; those beyond help are dropped."""
        try:
            self._store.commit(entries)
        except StoreError as error:
            self._fault = str(error)
            self._due = now + self._wait
            self._wait = min(2 * self._wait, RETRY_SECONDS[1])
            return False
        except Exception as error:  # noqa: BLE001 - the shield: training goes on
            self.drop(
                f"{len(self._pending)} blocks and events could not be recorded "
                f"({type(error).__name__}: {error})",
                len(self._pending),
            )
            self._release()
            return False
        self._fault = None
        self._due, self._wait = 0.0, RETRY_SECONDS[0]
        if self._store.losses:
            self._loss = self._store.losses.pop()
        self._release()
        return True

    def _release(self) -> None:
        with self._lock:
            self._room += sum(size for _, size in self._pending)
        self._pending.clear()

    def _finish(self) -> None:
        """Count what the disk still refuses, write down what was lost, close."""
        if self._pending:
            self.drop(self._fault or "the record was closed", len(self._pending))
            self._release()
        self._fault = None
        self._round(urgent=True)
        self._store.close()
