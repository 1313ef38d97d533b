"""Series and events come in from the training thread, and reach a sink on another.

Whatever the sink does, training does not feel it: the queue is bounded, what does not
fit is dropped and counted, a sink that raises is switched off, one that hangs is left
behind.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from surefoot.probes.shield import Shield
from surefoot.types import Event, Series, Sink

QUEUE_BYTES = 16 * 2**20
"""Readings that wait for a slow sink; 16 MiB hold 1,000 steps of 200 layers x 20
quantities."""
EVENT_BYTES = 1000
"""What an event is counted as."""
CLOSE_SECONDS = 5.0
"""How long the end of a run waits for its sinks, all of them together."""

_log = logging.getLogger("surefoot")


class Delivery:
    """Makes any sink one that never blocks and never raises; inert after a fork.

    `tell` takes the events that say what became of the sink. `dropped` counts blocks
    and events that did not reach it.
    """

    def __init__(
        self,
        sink: Sink,
        tell: Callable[[Event], None],
        *,
        queue_bytes: int = QUEUE_BYTES,
    ) -> None:
        self.name = type(sink).__name__
        self.dropped = 0
        self._sink = sink
        self._tell = tell
        self._room = queue_bytes
        self._queue: deque[tuple[Series | Event, int]] = deque()
        self._change = threading.Condition()
        self._closing = self._ended = False
        self._step = 0
        self._process = os.getpid()
        self._shield = Shield(self._switched_off)
        threading.Thread(
            target=self._deliver, name=f"surefoot {self.name}", daemon=True
        ).start()

    def write(self, series: Series) -> None:
        """Queue a block of readings, or count it as dropped."""
        self._put(series, series.values.nbytes + series.steps.nbytes)

    def event(self, event: Event) -> None:
        """Queue an event, or count it as dropped."""
        self._put(event, EVENT_BYTES)

    def close(self) -> None:
        """Wait a few seconds for what is queued, and say what was lost."""
        close_all([self])

    def finish(self) -> None:
        """Ask for the end; does not wait."""
        with self._change:
            self._closing = True
            self._change.notify_all()

    def ended(self, timeout_seconds: float) -> bool:
        """Whether the sink has taken and closed all, waited for so long at most."""
        if os.getpid() != self._process:
            return True
        with self._change:
            done = self._change.wait_for(lambda: self._ended, timeout_seconds)
            if not done:
                self.dropped += len(self._queue) + 1
                self._queue.clear()
            return done

    def tell_dropped(self, *, hanging: bool) -> None:
        """Say how much did not reach the sink, in the log and as an event."""
        why = "it did not end in time" if hanging else "it was too slow"
        _log.warning(
            "%s: %d blocks and events did not reach it (%s); the record has them all",
            self.name,
            self.dropped,
            why,
        )
        body = {"sink": self.name, "dropped": self.dropped, "hanging": hanging}
        self._tell(Event(self._step, "sink_dropped", body))

    def _put(self, item: Series | Event, size: int) -> None:
        if os.getpid() != self._process:
            return
        with self._change:
            self._step = item.step if isinstance(item, Event) else int(item.steps[-1])
            if self._shield.off:
                return
            if size > self._room or self._closing:
                self.dropped += 1
                return
            self._room -= size
            self._queue.append((item, size))
            self._change.notify_all()

    def _switched_off(self, name: str, error: str) -> None:
        """The sink raised; the log was told already."""
        self._tell(Event(self._step, "sink_off", {"sink": name, "error": error}))

    # --- the sink's thread ------------------------------------------------------

    def _deliver(self) -> None:
        """Hand over one by one, until the end; the sink is closed in any case."""
        try:
            while (item := self._next()) is not None:
                self._hand_over(item)
                if self._shield.off:
                    break
            self._shield.run(f"{self.name} (closing)", self._sink.close)
        finally:
            with self._change:
                self._ended = True
                self._queue.clear()
                self._change.notify_all()

    def _next(self) -> Series | Event | None:
        """What waited longest; None when all was handed over and the end is near."""
        with self._change:
            self._change.wait_for(lambda: bool(self._queue) or self._closing)
            if not self._queue:
                return None
            item, size = self._queue.popleft()
            self._room += size
            return item

    def _hand_over(self, item: Series | Event) -> None:
        if isinstance(item, Event):
            self._shield.run(self.name, lambda: self._sink.event(item))
        else:
            self._shield.run(self.name, lambda: self._sink.write(item))


def close_all(
    deliveries: Sequence[Delivery], timeout_seconds: float | None = None
) -> None:
    """Close several at once, within one limit; say what did not reach its sink."""
    limit = CLOSE_SECONDS if timeout_seconds is None else timeout_seconds
    until = time.monotonic() + limit
    for one in deliveries:
        one.finish()
    for one in deliveries:
        ended = one.ended(max(until - time.monotonic(), 0.0))
        if one.dropped:
            one.tell_dropped(hanging=not ended)
