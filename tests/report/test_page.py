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
from surefoot.report.contents import FIRST, Judged, contents, panel_answer, told
from surefoot.report.packing import (
    INFINITE,
    MISSING,
    TOP,
    ZERO,
    jsonable,
    numbers,
    packed_field,
    shortened,
)
from surefoot.report.page import (
    MOST_BYTES,
    AssetsError,
    inert_json,
    page,
    write_report,
)
from surefoot.report.panels import Query
from surefoot.types import Event, Field

HOSTILE = "</script><img src=x onerror=document.title='owned'>"


def data_in(text: str) -> dict:
    found = re.findall(
        r'<script type="application/json" id="[\w-]+">(.*?)</script>', text
    )
    assert len(found) == 1
    return json.loads(found[0])


def cells(panel: dict, row: int) -> list[int]:
    codes = np.frombuffer(base64.b64decode(panel["cells"]), "<u2")
    return codes.reshape(len(panel["y"]), len(panel["x"]))[row].tolist()


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
    assert len(cells(grads, 599)) == len(grads["x"])
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


# --- what a server hands out ------------------------------------------------------


def test_a_served_page_carries_one_map_and_offers_all(transformer_run, spike_diagnoses):
    whole = contents(transformer_run, spike_diagnoses)["streams"][0]
    first = contents(transformer_run, spike_diagnoses, carried=FIRST)["streams"][0]
    maps = [n for n, one in first["panels"].items() if one["kind"] == "heatmap"]
    assert maps == ["grad_norm"]
    assert first["details"] == []
    assert first["offers"] == whole["offers"]
    assert {one["name"] for one in first["offers"]} >= set(whole["panels"])
    assert first["panels"]["grad_norm"] == whole["panels"]["grad_norm"]


def test_one_panel_comes_with_its_own_names(transformer_run):
    answer = panel_answer(transformer_run, Query("grad_norm", start=3_400, stop=3_420))
    names = [answer["names"][at] for at in answer["panel"]["y"]]
    assert names[0] == "wte.weight"
    assert answer["panel"]["x"] == list(range(3_400, 3_420))
    assert panel_answer(transformer_run, Query("dead_share"))["panel"] is None


def test_what_is_told_in_words_comes_from_an_event_on(sigmoid_run, vanishing):
    sigmoid_run.told.extend(Event(at, "note", {}) for at in range(5))
    every = told(sigmoid_run, [vanishing])
    later = told(sigmoid_run, [], events_from=len(every["events"]) - 2)
    assert later["events"] == every["events"][-2:]
    assert later["diagnoses"] == []
    assert every["judged"] == {"state": "final", "steps": 600, "text": ""}
    waiting = told(sigmoid_run, [], judged=Judged("pending", text="in a moment"))
    assert waiting["judged"]["steps"] is None


def test_a_report_says_what_its_diagnosis_left_out(sigmoid_run, tmp_path):
    note = "The record is long: of grad_norm steps 0 to 9 of 300 were looked at."
    path = write_report(sigmoid_run, [], tmp_path / "r.html", note=note)
    judged = data_in(path.read_text("utf-8"))["judged"]
    assert judged == {"state": "final", "steps": 600, "text": note}


def test_a_served_page_may_ask_its_own_server_and_nobody_else():
    text = page({"format": 2, "server": True, "folder": "<runs>"}, served=True)
    assert "connect-src 'self';" in text
    assert "<title>&lt;runs&gt; · Surefoot</title>" in text


# --- fields -----------------------------------------------------------------------


def histogram(step: int) -> Field:
    counts = np.arange(6, dtype=np.float32).reshape(2, 3) + step
    axes = {"layer": ("net.0.weight", "net.2.weight"), "bin": (-3.0, -2.0, -1.0)}
    return Field(step, "grad_histogram", axes, counts)


def test_a_field_is_packed_whole_or_for_one_layer():
    whole = packed_field(histogram(4))
    assert [axis["name"] for axis in whole["axes"]] == ["layer", "bin"]
    assert whole["values"] == [4, 5, 6, 7, 8, 9]
    one = packed_field(histogram(4), layer="net.2.weight")
    assert [axis["name"] for axis in one["axes"]] == ["bin"]
    assert one["values"] == [7, 8, 9]
    assert packed_field(histogram(4), layer="net.9.weight") is None


def test_what_a_field_tells_of_each_layer_is_that_of_the_chosen_one():
    axes = {"layer": ["a", "b"], "eigenvalue": [0.0, 1.0]}
    about = {"top": {"a": [1.0], "b": [2.0]}, "errors": {"b": [0.1]}, "products": 3}
    field = Field(0, "spectrum", axes, np.ones((2, 2), np.float32), about=about)
    told = packed_field(field, layer="b")
    assert told is not None
    assert told["about"] == {"top": [2.0], "errors": [0.1], "products": 3}


def surface(step: int, title: str = "") -> Field:
    axes = {"alpha": (-1.0, 1.0), "beta": (-1.0, 0.0, 1.0)}
    values = np.full((2, 3), step, np.float32)
    about = {"title": title} if title else {}
    return Field(step, "landscape", axes, values, about=about)


def test_a_report_carries_histograms_of_the_accused(sigmoid_run, vanishing):
    run = replace(sigmoid_run, fields=[*map(histogram, range(40)), surface(299)])
    (stream,) = contents(run, [vanishing])["streams"]
    offers = {one["kind"]: one for one in stream["field_offers"]}
    assert offers["grad_histogram"]["steps"] == list(range(40))
    assert offers["grad_histogram"]["layers"] == ["net.0.weight", "net.2.weight"]
    assert offers["grad_histogram"]["titles"] == []
    kinds = [(one["kind"], one["step"]) for one in stream["fields"]]
    steps = [step for kind, step in kinds if kind == "grad_histogram"]
    assert len(steps) == 16
    assert steps[-1] == 39
    layers = [one["about"].get("layer") for one in stream["fields"][:16]]
    assert set(layers) == {"net.0.weight"}


def test_a_report_offers_just_the_slices_that_it_carries(sigmoid_run):
    both = [surface(299, "random"), surface(299, "path")]
    run = replace(sigmoid_run, fields=[*both, *map(surface, range(1, 8))])
    (stream,) = contents(run, [])["streams"]
    (offer,) = stream["field_offers"]
    told = list(zip(offer["steps"], offer["titles"], strict=True))
    assert told[:4] == [(step, "landscape") for step in (4, 5, 6, 7)]
    assert told[4:] == [(299, "random"), (299, "path")]
    assert [(one["step"], one["title"]) for one in stream["fields"]] == told
    (served,) = contents(run, [], carried=FIRST)["streams"]
    assert len(served["field_offers"][0]["steps"]) == 9
    assert served["fields"] == []


# --- numbers and batches ----------------------------------------------------------


def test_drawn_numbers_keep_five_digits_at_any_size():
    values = np.array([1.234567e-30, -9.87654321e20, 0, 7, 0.1], np.float32)
    found = numbers(values)
    assert found == pytest.approx(values.tolist(), rel=5e-5)
    rng = np.random.default_rng(2)
    usual = numbers(10.0 ** rng.uniform(-8, 6, 1_000).astype(np.float32))
    assert max(len(str(one).split("e")[0]) for one in usual) <= 10


def test_batches_that_stand_out_are_listed_by_step(a_run, a_series):
    rng = np.random.default_rng(5)
    loss = rng.normal(1, 0.05, 20_000)
    means, largest = rng.normal(0, 1, 20_000), rng.normal(4, 0.3, 20_000)
    loss[12_345] = 9.0
    largest[[777, 12_345]] = 40.0, 400.0
    run = a_run(
        a_series("loss", loss),
        a_series("input_mean", means),
        a_series("input_absmax", largest),
    )
    found = contents(run, [])["streams"][0]["batches"]
    assert [one["step"] for one in found] == [12_345, 777]
    reasons = [[one["what"] for one in batch["reasons"]] for batch in found]
    assert reasons == [["input_absmax", "loss"], ["input_absmax"]]
    assert found[0]["reasons"][0]["value"] == pytest.approx(400)
    assert found[0]["reasons"][0]["usual"] == pytest.approx(4, abs=0.5)


@pytest.mark.parametrize("seed", range(8))
def test_ordinary_batches_do_not_stand_out(a_run, a_series, seed):
    rng = np.random.default_rng(seed)
    falling = 2 * np.exp(-np.arange(3_000) / 400) + rng.gamma(9, 0.02, 3_000)
    run = a_run(
        a_series("loss", falling), a_series("target_std", rng.gamma(40, 1, 3_000))
    )
    assert contents(run, [])["streams"][0]["batches"] == []


def test_what_a_bad_batch_leaves_behind_is_not_a_batch_of_its_own(a_run, a_series):
    rng = np.random.default_rng(6)
    loss = 2 * np.exp(-np.arange(600) / 60) + rng.gamma(9, 0.002, 600)
    loss[300:340] += 8 * np.exp(-np.arange(40) / 8)
    run = a_run(a_series("loss", loss))
    found = contents(run, [])["streams"][0]["batches"]
    assert [one["step"] for one in found] == [300]


def test_a_loss_that_never_moves_has_no_outstanding_batch(a_run, a_series):
    run = a_run(a_series("loss", np.full(100, 2.0)))
    assert contents(run, [])["streams"][0]["batches"] == []
