"""Requests come in, those that are none of ours go no further; headers go out.

The server listens on loopback, but every page in the user's browser can reach that.
Three things tell our own page from a foreign one: the name that the browser believes
to talk to (against DNS rebinding), the page that asks, and how it asks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

METHODS = ("GET", "HEAD")
"""A dashboard only shows, but for one thing: see `ANSWERS`."""

ANSWERS = re.compile(r"/api/run/[^/]+/answer")
"""Where our own page may send a person's answer to a question of a run. A form of a
foreign page can neither send JSON nor hide where it comes from."""

OWN_SITE = ("same-origin", "none")
"""Sec-Fetch-Site of our own page, and of an address that the user typed
(w3.org/TR/fetch-metadata)."""

HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""Of every answer, where it has not its own."""

Headers = Sequence[tuple[bytes, bytes]]


def hosts(port: int) -> frozenset[str]:
    """What a browser on this machine calls a server at that port.

    >>> sorted(hosts(80))[:2]
    ['127.0.0.1', '127.0.0.1:80']
    """
    named = {f"{name}:{port}" for name in LOOPBACK}
    return frozenset(named | set(LOOPBACK) if port == 80 else named)


class Guard:
    """Refuses what does not come from our own page; wraps the whole application.

    `allowed` are the values of Host that are ours, see `hosts`.
    """

    def __init__(self, app: ASGIApp, allowed: frozenset[str]) -> None:
        self._app = app
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = with_ours(message.get("headers", ()))
            await send(message)

        method = scope["method"]
        if method == "POST" and ANSWERS.fullmatch(scope["path"]):
            method = "ANSWER"
        refused = refusal(method, scope["headers"], self._allowed)
        if refused is None:
            await self._app(scope, receive, guarded)
        else:
            await _refuse(guarded, *refused)


def refusal(
    method: str, headers: Headers, allowed: frozenset[str]
) -> tuple[int, str] | None:
    """Status and reason to refuse a request; None for one of ours.

    The method "ANSWER" is a POST to where answers are sent.
    """
    named = _values(headers, b"host")
    if len(named) != 1 or named[0].lower() not in allowed:
        return 403, (
            f"the request names the host {_shown(named)}; expected "
            f"{' or '.join(sorted(allowed))}; open the address that surefoot ui "
            "printed (through ssh, forward to the same port number)"
        )
    for origin in _values(headers, b"origin"):
        if origin.lower() not in {f"http://{one}" for one in allowed}:
            return 403, (
                f"the request comes from a page of {_shown([origin])}; expected one of "
                "this server's own; open the address that surefoot ui printed"
            )
    for site in _values(headers, b"sec-fetch-site"):
        if site.lower() not in OWN_SITE:
            return 403, (
                f"the request comes from another site ({_shown([site])}); expected "
                "the dashboard's own page; type the address into the browser"
            )
    if method == "ANSWER":
        return _no_answer(headers)
    if method not in METHODS:
        return 405, (
            f"the method is {_shown([method])}; expected {' or '.join(METHODS)}; a "
            "dashboard only shows, nothing can be changed through it"
        )
    return None


def _no_answer(headers: Headers) -> tuple[int, str] | None:
    """Status and reason to refuse an answer; None for one that our page sends."""
    if len(_values(headers, b"origin")) != 1:
        return 403, (
            "an answer came without the page that it comes from; expected the header "
            "Origin, as browsers send it; answer on the dashboard's own page"
        )
    kind = _values(headers, b"content-type")
    if [one.lower() for one in kind] != ["application/json"]:
        return 415, f"an answer came as {_shown(kind)}; expected 'application/json'"
    return None


def with_ours(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Headers of an answer, and ours where it has not its own."""
    own = list(headers)
    named = {name.lower() for name, _ in own}
    return own + [one for one in HEADERS if one[0] not in named]


def _values(headers: Headers, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in headers if key.lower() == name]


def _shown(values: Sequence[str]) -> str:
    return ", ".join(repr(value[:100]) for value in values) or "(none)"


async def _refuse(send: Send, status: int, reason: str) -> None:
    body = json.dumps({"error": reason}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        # What the refused request still wants to send is not read.
        (b"connection", b"close"),
    ]
    if status == 405:
        headers.append((b"allow", ", ".join(METHODS).encode()))
    start = {"type": "http.response.start", "status": status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body})
