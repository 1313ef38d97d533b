"""Records whose every checksum is right and whose contents are not: none of them
hides the others or makes the server fail."""

from __future__ import annotations

import numpy as np
import pytest

from served import block, writer_of
from surefoot.diagnosis.stored import KEY
from surefoot.record.values import strict
from surefoot.types import RUN, Diagnosis, Event, Evidence, Finding, Series

LONG = "layer" * 2_000
HOSTILE = "</script><script>alert(1)</script>\u202e\x00\x1b[31m'\"\ud800"
NAME = HOSTILE.rstrip("\ud800")  # of a stream or quantity: those are UTF-8
EVIDENCE = (Evidence(HOSTILE, float("nan"), 1e308, HOSTILE),)
FINDING = Finding(HOSTILE, LONG, 7, "critical", EVIDENCE, (HOSTILE,))
FOUND = Diagnosis(HOSTILE, LONG, HOSTILE, 7, float("inf"), (FINDING,))

ODD = (5, -1, "text", None, [], [1, None], {}, {"pid": 2**80}, 1e300, True, HOSTILE)
KEYS = ("created", "writer", "streams", "trouble", "argv", "versions", "script", KEY)

TARGETS = (
    "/api/run/odd", "/api/run/odd/verdict", "/api/run/odd/report",
    "/api/run/odd/panel?name=loss", "/api/run/odd/panel?name=grad_norm",
    "/api/run/odd/field?kind=grad_histogram", "/api/compare?run=odd&run=healthy",
)  # fmt: skip


def shown(dashboard):
    """The line of the odd run; all is asked about it, and the others are there."""
    for target in TARGETS:
        reply = dashboard.get(target)
        assert reply.status in (200, 409), (target, reply.body)
        if target.endswith("report") and reply.status == 200:
            assert b"<script>alert" not in reply.body
        else:
            assert reply.headers["content-type"] == "application/json"
            assert reply.json is not Ellipsis
    lines = {one["name"]: one for one in dashboard.get("/api/runs").json["runs"]}
    assert {"healthy", "broken"} < set(lines)
    assert lines["healthy"]["trouble"] is None
    return lines["odd"]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("value", ODD, ids=lambda value: ascii(value)[:20])
def test_odd_metadata(asked, folder, key, value):
    writer = writer_of(folder / "odd.surefoot")
    writer.append(block("loss", 0, 20))
    writer.put_meta(key, value)
    writer.close()
    line = shown(asked(folder))
    assert line["judged"]["state"] in ("pending", "final", "failed")


@pytest.mark.parametrize("value", ODD, ids=lambda value: ascii(value)[:20])
def test_odd_facts_of_a_stream(asked, folder, value):
    facts = {
        "model": value,
        "optimizer": value,
        "options": {"lr": value, HOSTILE: value},
        "parameters": [{"name": value, "size": value, "shape": [value]}, value],
        "modules": [{"name": value, "kind": HOSTILE}, value],
        "unseen": [value],
    }
    writer = writer_of(folder / "odd.surefoot", streams={"main": facts, HOSTILE: {}})
    writer.append(block("loss", 0, 20))
    writer.close()
    shown(asked(folder))


def test_odd_names_and_texts(asked, folder):
    writer = writer_of(
        folder / "odd.surefoot",
        **{KEY: {"found": [strict(FOUND)], "steps": 9_999, "surefoot": "9"}},
    )
    for layers in ((LONG, HOSTILE), tuple(f"{LONG}{at}" for at in range(50))):
        values = np.ones((20, len(layers)), np.float32)
        steps = np.arange(20, dtype=np.int64)
        for quantity in ("grad_norm", NAME):
            writer.append(Series(quantity, layers, steps, values, NAME))
    writer.append(block("loss", 0, 20))
    for kind in ("finding", "note", "end", NAME):
        writer.event(Event(3, kind, {"status": HOSTILE, HOSTILE: [LONG]}, NAME))
    writer.close()
    dashboard = asked(folder)
    line = shown(dashboard)
    assert len(line["verdict"]["cause"]) <= 300
    told = dashboard.get("/api/run/odd").json
    assert max(map(len, told["names"])) <= 300
    assert told["diagnoses"][0]["confidence"] == "inf"


def test_steps_and_values_at_the_ends_of_their_range(asked, folder):
    writer = writer_of(folder / "odd.surefoot")
    steps = np.array([0, 1, 2**40, 2**62], np.int64)
    values = np.array([[np.inf], [-np.inf], [3e38], [np.nan]], np.float32)
    for quantity in ("loss", "grad_norm", "lr"):
        writer.append(Series(quantity, RUN, steps, values))
    writer.event(Event(2**62, "finding", {"onset": 2**70}))
    writer.close()
    shown(asked(folder))


def test_a_run_of_nothing(asked, folder):
    writer_of(folder / "odd.surefoot").close()
    dashboard = asked(folder)
    line = shown(dashboard)
    assert (line["steps"], line["spark"], line["last_loss"]) == (0, None, None)
