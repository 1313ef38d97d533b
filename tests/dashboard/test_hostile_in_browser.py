"""Names that want to be more than text, in a real Chromium, over a real server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect

import recorded
from browsing import Visit, sideways, view
from surefoot.diagnosis.stored import KEY, to_store
from surefoot.types import (
    Change,
    Diagnosis,
    Event,
    Evidence,
    Facts,
    Finding,
    Module,
    Parameter,
    Prescription,
)

pytestmark = pytest.mark.browser

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>"
LAYERS = (
    SCRIPT,
    "\"quoted'`${alert(3)}",
    "\u202eturned.weight",
    "x" * 10_000,
    "🙂" * 40,
    "two\nlines",
    "</script><svg onload=alert(4)>",
    "constructor",
    "__proto__",
)
FILE = "<img src=x onerror=alert(5)>\"'`%2e%2e&#x27;?🙂\u202e\n#.."

OWN_SCRIPT = """
window.refused = [];
addEventListener("securitypolicyviolation",
  one => window.refused.push(`${one.violatedDirective} ${one.blockedURI}`));
"""


def accusation(layer: str) -> Diagnosis:
    seen = Evidence(SCRIPT, 118.0, 20.0, SCRIPT)
    finding = Finding(SCRIPT, layer, 3, "critical", (seen,), layers=LAYERS)
    advice = Prescription(SCRIPT, (Change(SCRIPT, "set", SCRIPT),), SCRIPT, SCRIPT)
    return Diagnosis(SCRIPT, SCRIPT, layer, 3, 0.9, (finding,), (advice,))


def hostile(path: Path) -> Path:
    rng = np.random.default_rng(0)
    steps = 60
    facts = Facts(
        model=SCRIPT,
        optimizer=SCRIPT,
        options={SCRIPT: SCRIPT, "__proto__": SCRIPT},
        parameters=tuple(Parameter(one, one, 10) for one in LAYERS),
        modules=tuple(Module(one, SCRIPT) for one in LAYERS),
        unseen=(SCRIPT,),
    )
    told = [
        Event(0, "start", {"script": SCRIPT, "argv": [SCRIPT]}),
        Event(1, SCRIPT, {SCRIPT: SCRIPT}),
        Event(2, "note", {"text": SCRIPT}),
        Event(3, "finding", {"cause": SCRIPT, "layer": SCRIPT}),
        Event(4, "change", {"knob": SCRIPT, "before": SCRIPT, "why": SCRIPT}),
        Event(5, "checkpoint", {"path": SCRIPT}),
        Event(6, "nonfinite", {"module": SCRIPT, "operation": SCRIPT}),
    ]
    return recorded.write(
        path,
        recorded.series("loss", rng.random(steps)),
        recorded.series("grad_norm", rng.random((steps, len(LAYERS))), LAYERS),
        recorded.series("metric", rng.random((steps, 2)), (SCRIPT, "__proto__")),
        told=told,
        facts=facts,
        script=SCRIPT,
        argv=[SCRIPT],
        versions={SCRIPT: SCRIPT},
        **{KEY: to_store([accusation(SCRIPT), replace(accusation("x"))], steps)},
    )


def watched(visit: Any, *size: int) -> Visit:
    seen = visit(*size)
    seen.page.add_init_script(OWN_SCRIPT)
    return seen


def assert_calm(seen: Visit, server: str) -> None:
    """Nothing ran, nothing was refused, nothing was fetched from elsewhere."""
    page = seen.page
    assert seen.dialogs == []
    assert seen.complaints == []
    assert page.evaluate("window.refused") == []
    assert all(url.startswith(server) for url in seen.requests)
    assert page.locator("main img, main script, svg[onload]").count() == 0


@pytest.mark.parametrize("width", [1280, 390])
def test_hostile_names_in_a_record_are_shown_as_text(visit, ui, tmp_path, width):
    hostile(tmp_path / "run.surefoot")
    server = ui(tmp_path)
    seen = watched(visit, width, 800)
    page = seen.open(server.of("run"))
    verdict = view(page, "verdict")
    expect(verdict.locator("h2").first).to_contain_text(f"in {SCRIPT}")
    expect(view(page, "layer").locator("h3 code")).to_have_text(SCRIPT)
    expect(view(page, "events")).to_contain_text(SCRIPT)
    for layer in range(len(LAYERS)):
        box = view(page, "heatmap").locator(".map")
        box.focus()
        page.keyboard.press("ArrowDown" if layer else "ArrowRight")
        page.keyboard.press("Enter")
    expect(view(page, "layer").locator("h3 code")).to_have_text("__proto__")
    for summary in page.locator("summary").all():
        summary.click()
    assert page.title() == "run · Surefoot"
    assert sideways(page) <= width
    assert_calm(seen, server.address)


def test_a_hostile_file_name_is_text_in_list_run_and_comparison(visit, ui, tmp_path):
    recorded.case("plain", tmp_path / f"{FILE}.surefoot")
    recorded.case("dead_layer", tmp_path / "other.surefoot")
    (tmp_path / f"{FILE}broken.surefoot").write_bytes(b"")
    server = ui(tmp_path)
    seen = watched(visit)
    page = seen.open(server.address)
    shown = " ".join(FILE.split())
    rows = view(page, "runs").locator("tbody tr")
    expect(rows).to_have_count(3)
    rows.filter(has_text="other").get_by_role("checkbox").check()
    own = rows.filter(has=page.locator("a", has_text="onerror"))
    own.get_by_role("checkbox").check()
    own.get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(shown)
    expect(view(page, "loss").locator("canvas").first).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Save this page as one file").click()
    kept = tmp_path / "kept.html"
    download.value.save_as(kept)
    page.go_back()
    for row in (rows.filter(has_text="other"), own):
        row.get_by_role("checkbox").check()
    page.get_by_role("link", name="Compare 2 runs").click()
    listed = page.get_by_role("list", name="Runs by their last value").locator("li")
    expect(listed.filter(has_text="onerror")).to_have_count(1)
    assert_calm(seen, server.address)
    report = watched(visit)
    report.open(kept)
    expect(report.page.get_by_role("heading", level=1)).to_have_text(shown)
    assert_calm(report, kept.as_uri())
