"""The page is one small, inert file, and says clearly when it cannot be made."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest

from surefoot.report import page as page_module
from surefoot.report.contents import (
    INFINITE,
    MISSING,
    TOP,
    ZERO,
    contents,
    jsonable,
    shortened,
)
from surefoot.report.page import MOST_BYTES, AssetsError, inert_json, write_report
from surefoot.types import Event

HOSTILE = "</script><img src=x onerror=document.title='owned'>"


def data_in(text: str) -> dict:
    found = re.findall(
        r'<script type="application/json" id="[\w-]+">(.*?)</script>', text
    )
    assert len(found) == 1
    return json.loads(found[0])


def cells(panel: dict, row: int) -> list[int]:
    return np.frombuffer(base64.b64decode(panel["cells"][row]), "<u2").tolist()


def test_a_report_is_one_file_below_a_megabyte(
    sigmoid_run, vanishing, verdict, tmp_path
):
    out = write_report(sigmoid_run, [vanishing], tmp_path / "r.html", [verdict])
    text = out.read_text(encoding="utf-8")
    assert len(text.encode()) <= MOST_BYTES
    data = data_in(text)
    assert data["run"]["name"] == "deep_plain_net-20260203-041500-7b38"
    assert data["diagnoses"][0]["layer"] == "net.0.weight"
    assert data["verdicts"][0]["held"] is True
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", text)


def test_a_large_run_is_made_to_fit(a_run, a_series, tmp_path):
    rng = np.random.default_rng(1)
    names = [f"model.layers.{at}.self_attn.q_proj.weight" for at in range(600)]
    run = a_run(
        *(
            a_series(name, rng.random((3000, 600)), layers=names)
            for name in ("grad_norm", "weight_norm", "update_norm", "activation_std")
        )
    )
    data = data_in(write_report(run, [], tmp_path / "r.html").read_text())
    assert (tmp_path / "r.html").stat().st_size <= MOST_BYTES
    grads = data["streams"][0]["panels"]["grad_norm"]
    assert len(grads["cells"]) == 600
    kept = [p for p in data["streams"][0]["panels"].values() if p["kind"] == "heatmap"]
    assert len(kept) == 4 or "leaves out" in data["left_out"][0]


def test_packed_cells_span_the_panels_range(a_run, a_series):
    values = [[1e-4, 0.0, np.inf], [1.0, np.nan, 1e-2]]
    run = a_run(a_series("grad_norm", values, layers=["a", "b", "c"]))
    panel = contents(run, [])["streams"][0]["panels"]["grad_norm"]
    assert panel["range"] == pytest.approx([-4, 0])
    assert cells(panel, 0) == [0, TOP]
    assert cells(panel, 1) == [ZERO, MISSING]
    assert cells(panel, 2) == [INFINITE, TOP // 2]


def test_the_accused_layer_travels_in_detail_when_the_map_is_coarse(
    transformer_run, spike_diagnoses
):
    (stream,) = contents(transformer_run, spike_diagnoses)["streams"]
    assert [one["quantity"] for one in stream["details"]] == ["grad_norm"]
    (one,) = stream["details"]
    data = contents(transformer_run, spike_diagnoses)
    assert data["names"][one["layer"]] == "blocks.7.attn.qkv.weight"
    assert max(v for v in one["panel"]["high"][0] if v) > 4


def test_hostile_text_cannot_leave_its_element(sigmoid_run, vanishing, tmp_path):
    sigmoid_run.told.append(Event(3, HOSTILE, {HOSTILE: HOSTILE}))
    bad = replace(vanishing, layer=HOSTILE, about=HOSTILE + "\u2028\ud800")
    text = write_report(sigmoid_run, [bad], tmp_path / "r.html").read_text("utf-8")
    assert "<img" not in text
    assert "\u2028" not in text
    assert data_in(text)["diagnoses"][0]["layer"] == HOSTILE
    assert html.escape(HOSTILE)[:20] in text  # in what is shown without scripts


def test_the_policy_names_the_pages_own_script_and_style(sigmoid_run, tmp_path):
    text = write_report(sigmoid_run, [], tmp_path / "r.html").read_text("utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag in ("script", "style"):
        body = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_assets_that_were_not_built_are_a_clear_error(monkeypatch, tmp_path):
    monkeypatch.setattr(page_module, "files", lambda package: tmp_path)
    with pytest.raises(AssetsError, match=r"page\.js is not in this .*pip install -e"):
        page_module.asset("page.js")


def test_an_unwritable_place_is_the_systems_own_error(sigmoid_run, tmp_path):
    with pytest.raises(FileNotFoundError):
        write_report(sigmoid_run, [], tmp_path / "no" / "r.html")


def test_numbers_that_json_lacks_travel_as_words():
    found = jsonable({"a": math.nan, "b": [math.inf, -math.inf], "c": (1, True, None)})
    assert found == {"a": "nan", "b": ["inf", "-inf"], "c": [1, True, None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        inert_json(math.nan)


def test_very_long_names_are_shortened_in_the_middle():
    short = shortened("a" * 9_990 + "the.end.weight")
    assert len(short) == 300
    assert short.endswith("the.end.weight")


def test_damage_and_what_was_left_out_are_told(a_run, a_series):
    events = [Event(at, "note", {"text": "x"}) for at in range(2_001)]
    run = a_run(a_series("loss", [1.0]), told=events, damage="r.surefoot is damaged")
    data = contents(run, [])
    assert len(data["events"]) == 2_000
    assert data["left_out"] == [
        "r.surefoot is damaged",
        "The first 2000 of 2001 events are listed.",
    ]


def test_a_run_that_died_and_one_without_readings_still_have_a_page(a_run, tmp_path):
    empty = a_run(end="killed")
    data = data_in(write_report(empty, [], tmp_path / "r.html").read_text())
    assert data["run"]["status"] == "killed"
    assert data["run"]["steps"] == 0
    assert data["streams"] == []
