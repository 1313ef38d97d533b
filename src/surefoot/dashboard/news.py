"""A look at the records comes in, server-sent events go out while it changes.

The state is told at once on connection and then on each change, so that a page that
lost its connection misses nothing: what it reads first after it tells all.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from surefoot.report.packing import Json

POLL_SECONDS = 0.5
"""Between looks: with this an alarm is on the page within a second."""

HEARTBEAT_SECONDS = 10.0
"""Between lines of comment where nothing changes: a page that is gone is noticed."""

RETRY_MS = 1_000
"""How soon a browser connects again."""

Look = Callable[[], Awaitable[Json]]
Changes = Callable[[Json, Json], Json]


@dataclass(frozen=True, slots=True)
class Feed:
    """What is followed: `look` gives the state, `changes` what to tell of two states.

    `ended` says when to stop.
    """

    name: str
    look: Look
    changes: Changes
    ended: Callable[[], Awaitable[bool]]


async def messages(
    feed: Feed, *, poll: float = POLL_SECONDS, heartbeat: float = HEARTBEAT_SECONDS
) -> AsyncGenerator[bytes]:
    """The text of a stream of server-sent events, without an end of its own."""
    state = await feed.look()
    yield f"retry: {RETRY_MS}\n\n".encode()
    yield message(feed.name, feed.changes(None, state))
    spoken = time.monotonic()
    while not await feed.ended():
        await asyncio.sleep(poll)
        before, state = state, await feed.look()
        if state != before:
            yield message(feed.name, feed.changes(before, state))
        elif time.monotonic() - spoken < heartbeat:
            continue
        else:
            yield b": still here\n\n"
        spoken = time.monotonic()


def message(name: str, body: Json) -> bytes:
    r"""One event (html.spec.whatwg.org, "server-sent events").

    >>> message("run", {"steps": 3})
    b'event: run\ndata: {"steps":3}\n\n'
    """
    text = json.dumps(body, allow_nan=False, separators=(",", ":"))
    return f"event: {name}\ndata: {text}\n\n".encode()


def whole(before: Json, after: Json) -> Json:
    """Tells the new state itself."""
    return after


def list_changes(before: Json, after: Json) -> dict[str, Json]:
    """ListNews of the page: lines that are new or changed, and names of those gone.

    >>> old, new = [{"name": "a", "steps": 1}], [{"name": "b", "steps": 2}]
    >>> list_changes(old, new)["gone"]
    ['a']
    """
    known = {one["name"]: one for one in before or ()}
    names = {one["name"] for one in after}
    changed: list[Any] = [one for one in after if known.get(one["name"]) != one]
    return {"runs": changed, "gone": [name for name in known if name not in names]}
