"""What a question costs the server: a long record comes in, CPU ms go out."""

from __future__ import annotations

import http.client
import itertools
import time
from collections.abc import Iterator
from functools import partial
from urllib.parse import quote

from benchmarks.dashboard.records import layer_names
from benchmarks.dashboard.served import Server

TIMES = 30
FOLLOWED_SECONDS = 8
POLLS_PER_SECOND = 2


def costs(server: Server, run: str, steps: int, layers: int) -> dict[str, float]:
    """CPU ms of each kind of question: the mean over many of different ranges."""
    found: dict[str, float] = {}
    for what, targets in questions(run, steps, layers).items():
        server.get(next(targets))  # what is read once and kept
        ask = partial(_next, server, targets)
        found[what] = 1e3 * server.cpu_of(ask, TIMES)
    found["news: one look"] = 1e3 * _followed(server, run)
    return found


def _next(server: Server, targets: Iterator[str]) -> None:
    server.get(next(targets))


def questions(run: str, steps: int, layers: int) -> dict[str, Iterator[str]]:
    """Addresses of each kind, without end."""
    own = f"/api/run/{quote(run)}"
    layer = quote(layer_names(layers)[layers // 2])

    def parts(query: str, width: int) -> Iterator[str]:
        starts = range(0, steps - width, max((steps - width) // (TIMES + 2), 1))
        for start in itertools.cycle(starts):
            yield f"{own}/panel?{query}&start={start}&stop={start + width}"

    def same(target: str) -> Iterator[str]:
        return itertools.repeat(target)

    loss, norms = "name=loss&points=2000", "name=grad_norm&points=800"
    return {
        "list of runs": same("/api/runs"),
        "page of a run": same(own),
        "verdict": same(f"{own}/verdict?events_from=0"),
        "loss, whole run": same(f"{own}/panel?{loss}"),
        "loss, a tenth of it": parts(loss, steps // 10),
        "loss, 2,000 steps": parts(loss, 2000),
        "map, whole run": same(f"{own}/panel?{norms}"),
        "map, a tenth of it": parts(norms, steps // 10),
        "map, 800 steps": parts(norms, 800),
        "one layer, whole run": same(
            f"{own}/panel?name=grad_norm&points=1000&layer={layer}"
        ),
        "one layer, a tenth of it": parts(
            f"name=grad_norm&points=1000&layer={layer}", steps // 10
        ),
        "comparison with itself": same(f"/api/compare?run={quote(run)}&points=500"),
    }


def _followed(server: Server, run: str) -> float:
    """CPU seconds of one look for news."""
    line = http.client.HTTPConnection(server.host, timeout=60)
    line.request("GET", f"/api/news?run={quote(run)}")
    reply = line.getresponse()
    reply.read(1)
    time.sleep(1)
    before = server.cpu_seconds()
    time.sleep(FOLLOWED_SECONDS)
    spent = server.cpu_seconds() - before
    line.close()
    return spent / (FOLLOWED_SECONDS * POLLS_PER_SECOND)
