"""What is not our own page's request goes no further; every answer is guarded."""

from __future__ import annotations

import pytest

from surefoot.dashboard.guard import Guard, hosts, refusal

PAGES = ("/", "/api/runs", "/api/run/healthy", "/api/run/healthy/report", "/nothing")
HERE = "127.0.0.1:7999"


def test_our_own_page_is_answered(answering):
    for host in (HERE, "localhost:7999", "LOCALHOST:7999", "[::1]:7999"):
        assert answering.get("/api/runs", headers={"host": host}).status == 200
    own = {"origin": f"http://{HERE}", "sec-fetch-site": "same-origin"}
    assert answering.get("/api/runs", headers=own).status == 200
    assert answering.get("/", headers={"sec-fetch-site": "none"}).status == 200


@pytest.mark.parametrize("target", PAGES)
@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example:7999"},
        {"host": "127.0.0.1"},
        {"host": "127.0.0.1:80"},
        {"host": "127.0.0.1.evil.example:7999"},
        {"host": "localhost.:7999"},
        {"host": f"{HERE}, evil.example"},
        {"host": ""},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:8000"},
        {"origin": f"https://{HERE}"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_foreign_requests_are_refused(answering, target, headers):
    reply = answering.get(target, headers=headers)
    assert reply.status == 403
    assert "expected" in reply.error
    assert b"healthy" not in reply.body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "X"])
@pytest.mark.parametrize("target", PAGES)
def test_nothing_but_reading_is_allowed(answering, target, method):
    reply = answering.get(target, method)
    assert reply.status == 405
    assert reply.headers["allow"] == "GET, HEAD"
    assert "expected GET or HEAD" in reply.error


@pytest.mark.parametrize("target", PAGES)
def test_every_answer_bears_the_headers(answering, target):
    for reply in (answering.get(target), answering.get(target, headers={"host": "x"})):
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["x-frame-options"] == "DENY"
        assert reply.headers["cross-origin-resource-policy"] == "same-origin"
        assert reply.headers["cache-control"] == "no-store"
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "access-control-allow-origin" not in reply.headers


def test_two_hosts_are_none_of_ours():
    twice = [(b"host", HERE.encode())] * 2
    assert refusal("GET", twice[:1], hosts(7999)) is None
    refused = refusal("GET", twice, hosts(7999))
    assert refused is not None
    assert refused[0] == 403


def test_a_web_socket_is_closed(answering):
    told = []

    async def send(message):
        told.append(message)

    guard = Guard(lambda *_: pytest.fail("it went through"), hosts(7999))
    answering.run(guard({"type": "websocket"}, None, send))
    assert [one["type"] for one in told] == ["websocket.close"]
