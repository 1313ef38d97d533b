"""Every route: what it answers, and how it refuses."""

from __future__ import annotations

import base64
import json
import os
import shutil
from contextlib import closing
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from served import write_run
from surefoot.dashboard import library
from surefoot.dashboard.answers import shown_folder
from surefoot.record.trials import add_trial
from surefoot.record.writer import RecordWriter
from surefoot.report.contents import FORMAT
from surefoot.types import Change, Field, Prescription, Series, Verdict

VERDICT = Verdict(
    prescription=Prescription("lower_lr", (Change("lr", "scale", 0.5),), "", "a paper"),
    metric="accuracy",
    seeds=(0, 1),
    baseline=(0.5, 0.5),
    treated=(0.75, 0.75),
    effect=0.25,
    interval=(0.1, 0.4),
    held=True,
)


def test_the_page_is_the_bundle_and_knows_its_server(answering, two_runs):
    reply = answering.get("/")
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/html")
    text = reply.body.decode()
    data = text.partition('id="surefoot-data">')[2].partition("</script>")[0]
    assert json.loads(data) == {
        "format": FORMAT,
        "server": True,
        "folder": shown_folder(two_runs),
    }
    stated = text.partition('Policy" content="')[2].partition('"')[0]
    assert reply.headers["content-security-policy"].startswith(stated)
    assert "connect-src 'self'" in stated


def test_runs_are_listed_with_status_spark_and_verdict(answering, two_runs):
    told = answering.get("/api/runs").json
    assert told["folder"] == shown_folder(two_runs)
    lines = {one["name"]: one for one in told["runs"]}
    assert set(lines) == {"healthy", "broken"}
    healthy, broken = lines["healthy"], lines["broken"]
    assert (healthy["status"], healthy["steps"]) == ("finished", 200)
    assert healthy["judged"] == {"state": "final", "steps": 200, "text": ""}
    assert healthy["verdict"] is None
    assert healthy["last_loss"] == pytest.approx(0.1 + 2 * np.exp(-199 / 80))
    assert 2 < len(healthy["spark"]["low"]) <= 60
    assert broken["verdict"]["layer"] == "fc"
    assert broken["verdict"]["onset"] == 120
    assert broken["verdict"]["severity"] == "critical"
    assert broken["spark"]["low"][-1] is None
    assert broken["last_loss"] == "nan"


def test_a_run_is_told_with_what_is_seen_first(answering):
    told = answering.get("/api/run/broken").json
    assert told["format"] == FORMAT
    assert told["run"]["name"] == "broken"
    assert told["diagnoses"][0]["layer"] == "fc"
    [stream] = told["streams"]
    assert set(stream["panels"]) == {"loss", "grad_norm"}
    assert {one["name"] for one in stream["offers"]} == {"loss", "grad_norm"}
    assert told["verdicts"] == []


def test_panels_of_any_range_and_width(answering):
    panel = answering.get("/api/run/healthy/panel?name=loss").json["panel"]
    assert (len(panel["x"]), panel["width"]) == (200, 1)
    part = "/api/run/healthy/panel?name=loss&start=100&stop=150&width=8"
    panel = answering.get(part).json["panel"]
    assert panel["x"] == [96, 104, 112, 120, 128, 136, 144]
    told = answering.get("/api/run/healthy/panel?name=grad_norm").json
    assert told["names"] == ["fc.weight", "fc.bias"]
    codes = np.frombuffer(base64.b64decode(told["panel"]["cells"]), "<u2")
    assert len(codes) == 2 * 200
    layer = "/api/run/healthy/panel?name=grad_norm&layer=fc.bias"
    panel = answering.get(layer).json["panel"]
    assert (panel["kind"], panel["y"]) == ("line", ["fc.bias"])
    assert answering.get("/api/run/healthy/panel?name=lr").json["panel"] is None


def test_the_tail_of_a_panel_fits_what_was_drawn(answering):
    whole = answering.get("/api/run/healthy/panel?name=loss&points=20").json["panel"]
    width, last = whole["width"], whole["x"][-1]
    tail = answering.get(
        f"/api/run/healthy/panel?name=loss&start={last}&width={width}"
    ).json["panel"]
    assert tail["x"] == [last]
    assert tail["low"][0][0] == whole["low"][0][-1]


def test_words_and_events_from_a_number_on(answering):
    told = answering.get("/api/run/broken/verdict").json
    assert [one["kind"] for one in told["events"]] == ["nonfinite", "end"]
    assert told["diagnoses"] == answering.get("/api/run/broken").json["diagnoses"]
    told = answering.get("/api/run/broken/verdict?events_from=1").json
    assert [one["kind"] for one in told["events"]] == ["end"]
    assert told["events_from"] == 1
    told = answering.get("/api/run/broken/verdict?events_from=9").json
    assert (len(told["events"]), told["events_from"]) == (2, 0)


def test_trials_beside_the_record_are_shown(asked, folder):
    dashboard = asked(folder)
    assert dashboard.get("/api/run/broken").json["verdicts"] == []
    add_trial(folder / "broken.surefoot", VERDICT)
    for target in ("/api/run/broken", "/api/run/broken/verdict"):
        [told] = dashboard.get(target).json["verdicts"]
        assert (told["metric"], told["held"]) == ("accuracy", True)


def test_the_report_is_a_file_to_keep(answering):
    reply = answering.get("/api/run/broken/report")
    assert reply.status == 200
    assert reply.headers["content-disposition"] == (
        "attachment; filename*=utf-8''broken.html"
    )
    assert len(reply.body) < 1_000_000
    text = reply.body.decode()
    assert "connect-src" not in text.partition("</head>")[0]
    data = json.loads(text.partition('id="surefoot-data">')[2].partition("</script")[0])
    assert data["diagnoses"][0]["layer"] == "fc"


def test_a_head_has_no_body_and_ends(answering):
    for target in ("/", "/api/runs", "/api/news", "/api/run/healthy"):
        assert answering.get(target, "HEAD").status == 200


def test_fields_are_null_where_none_were_recorded(answering):
    assert answering.get("/api/run/healthy/field?kind=spectrum").json is None


def test_fields_of_one_step_are_asked_for_by_title(asked, tmp_path):
    with closing(RecordWriter(tmp_path / "a.surefoot", {})) as writer:
        for title, value in (("one", 1), ("two", 2)):
            values = np.array([value, 0], np.float32)
            about = {"title": title}
            axes = {"alpha": [0, 1]}
            writer.field(Field(5, "landscape", axes, values, about=about))
        loss = np.ones((9, 1), np.float32)
        writer.append(Series("loss", ("run",), np.arange(9), loss))
    server = asked(tmp_path)
    page = server.get("/api/run/a").json
    (offer,) = page["streams"][0]["field_offers"]
    assert (offer["steps"], offer["titles"]) == ([5, 5], ["one", "two"])
    route = "/api/run/a/field?kind=landscape&step=5"
    for title, value in (("one", 1), ("two", 2)):
        told = server.get(f"{route}&title={title}").json
        assert (told["title"], told["values"][0]) == (title, value)
    assert server.get(f"{route}&title=three").json is None
    assert server.get(route).json["title"] == "two"
    assert server.get("/api/run/a/field?kind=landscape&step=0").json["step"] == 5


def test_runs_are_compared(answering):
    told = answering.get("/api/compare?run=healthy&run=broken&run=gone&points=50").json
    assert (told["quantity"], told["quantities"]) == ("loss", ["loss"])
    assert [one["label"] for one in told["lines"]] == ["healthy", "broken"]
    for line in told["lines"]:
        assert len(line["x"]) == len(line["low"]) == len(line["high"]) <= 50
    [trouble] = told["troubles"]
    assert trouble["run"] == "gone"
    assert "no run 'gone'" in trouble["text"]


@pytest.mark.parametrize(
    ("target", "status", "words"),
    [
        ("/api/run/nobody", 404, "no run 'nobody'"),
        ("/api/run/nobody/panel?name=loss", 404, "no run 'nobody'"),
        ("/api/run/nobody/field?kind=x", 404, "no run 'nobody'"),
        ("/api/run/nobody/verdict", 404, "no run 'nobody'"),
        ("/api/run/nobody/report", 404, "no run 'nobody'"),
        ("/api/news?run=nobody", 404, "no run 'nobody'"),
        ("/api/run/healthy.surefoot", 404, "no run 'healthy.surefoot'"),
        ("/api/run/Healthy", 404, "no run 'Healthy'"),
        ("/api/run/healthy/panel", 400, "no name came"),
        ("/api/run/healthy/panel?name=dance", 404, "unknown panel 'dance'"),
        ("/api/run/healthy/panel?name=loss&stream=x", 404, "no stream 'x'"),
        ("/api/run/healthy/panel?name=grad_norm&layer=x", 404, "no layer 'x'"),
        ("/api/run/healthy/panel?name=loss&width=3", 400, "power of two"),
        ("/api/run/healthy/field", 400, "no kind came"),
        ("/api/run/healthy/field?kind=x&stream=y", 404, "no stream 'y'"),
        ("/api/run/healthy/verdict?events_from=x", 400, "whole number"),
        ("/api/run/healthy?x=1", 400, "'x' came"),
        ("/api/runs?x", 400, "'x' came"),
        ("/api/compare", 400, "0 runs came"),
        ("/api/compare?run=a&quantity=grad_norm", 400, "layer by layer"),
        ("/api/compare?run=a&quantity=x", 400, "unknown panel 'x'"),
        ("/api", 404, "nothing at"),
        ("/api/run/", 404, "nothing at"),
        ("/favicon.ico", 404, "nothing at"),
    ],
)
def test_refusals_say_what_was_expected(answering, target, status, words):
    reply = answering.get(target)
    assert reply.status == status
    assert reply.headers["content-type"] == "application/json"
    assert words in reply.error
    assert "expected" in reply.error


SECRET = "a secret beside the folder"
DOTS = ("..", "%2e%2e", ".%2e", "%252e%252e")
SLASHES = ("/", "%2f", "%5c", "\\", "%252f", "//")


@pytest.mark.parametrize("slash", SLASHES)
@pytest.mark.parametrize("dots", DOTS)
def test_no_spelling_of_a_path_leads_out(asked, folder, dots, slash):
    outside = write_run(folder.parent, "outside")
    outside.with_name("secret").write_text(SECRET)
    dashboard = asked(folder)
    for name in ("outside", "outside.surefoot", "secret"):
        for tail in ("", "%00", "/report"):
            reply = dashboard.get(f"/api/run/{dots}{slash}{name}{tail}")
            assert reply.status == 404
            assert SECRET not in reply.body.decode()


def test_absolute_and_odd_names_are_unknown(asked, folder):
    outside = write_run(folder.parent, "outside")
    names = (str(outside), str(outside.with_suffix("")), "\0", "healthy\0", ".", "..")
    dashboard = asked(folder)
    for name in (*names, "healthy/", "~", "C:\\x", "file:///etc/passwd", "x" * 9999):
        assert dashboard.get(f"/api/run/{quote(name, safe='')}").status == 404, name


def test_a_link_out_of_the_folder_is_no_run(asked, folder):
    outside = write_run(folder.parent, "outside")
    (folder / "link.surefoot").symlink_to(outside)
    (folder / "circle.surefoot").symlink_to(folder / "circle.surefoot")
    (folder / "dangling.surefoot").symlink_to(folder / "nothing")
    (folder / "device.surefoot").symlink_to("/dev/zero")
    (folder / "inside.surefoot").symlink_to(folder / "healthy.surefoot")
    (folder / "deep.surefoot").mkdir()
    os.mkfifo(folder / "pipe.surefoot")
    dashboard = asked(folder)
    names = {one["name"] for one in dashboard.get("/api/runs").json["runs"]}
    assert names == {"healthy", "broken", "inside"}
    for name in ("link", "circle", "dangling", "device", "deep", "pipe"):
        assert dashboard.get(f"/api/run/{name}").status == 404
    assert dashboard.get("/api/run/inside").status == 200


def test_what_cannot_be_read_is_listed_with_its_trouble(asked, folder):
    (folder / "garbage.surefoot").write_bytes(b"not a record at all" * 100)
    (folder / "empty.surefoot").touch()
    whole = (folder / "healthy.surefoot").read_bytes()
    (folder / "short.surefoot").write_bytes(whole[: len(whole) // 2])
    (folder / "newer.surefoot").write_bytes(
        whole[:60] + (99).to_bytes(4, "big") + whole[64:]
    )
    dashboard = asked(folder)
    lines = {one["name"]: one for one in dashboard.get("/api/runs").json["runs"]}
    assert lines["healthy"]["trouble"] is None
    assert lines["healthy"]["verdict"] is None
    assert "is empty" in lines["empty"]["trouble"]
    assert "damaged" in lines["short"]["trouble"]
    assert "format 99" in lines["newer"]["trouble"]
    for name in ("garbage", "empty", "newer"):
        line = lines[name]
        assert line["status"] == "unreadable"
        assert line["judged"]["state"] == "failed"
        reply = dashboard.get(f"/api/run/{name}")
        assert reply.status == 409
        assert str(folder / name) in reply.error
    compared = dashboard.get("/api/compare?run=healthy&run=garbage").json
    assert [one["run"] for one in compared["lines"]] == ["healthy"]
    assert [one["run"] for one in compared["troubles"]] == ["garbage"]


def test_a_large_damaged_record_is_not_restored_here(asked, folder, monkeypatch):
    whole = (folder / "healthy.surefoot").read_bytes()
    (folder / "short.surefoot").write_bytes(whole[: len(whole) // 2])
    monkeypatch.setattr(library, "RESTORED_BYTES", len(whole) // 4)
    dashboard = asked(folder)
    lines = {one["name"]: one for one in dashboard.get("/api/runs").json["runs"]}
    assert "surefoot diagnose" in lines["short"]["trouble"]
    assert lines["healthy"]["trouble"] is None
    assert "too many to restore" in dashboard.get("/api/run/short").error


def test_a_run_that_is_deleted_is_gone_and_the_others_stay(asked, folder):
    dashboard = asked(folder)
    assert dashboard.get("/api/run/healthy").status == 200
    (folder / "healthy.surefoot").unlink()
    assert dashboard.get("/api/run/healthy").status == 404
    names = [one["name"] for one in dashboard.get("/api/runs").json["runs"]]
    assert names == ["broken"]


def test_a_record_that_is_made_anew_is_read_anew(asked, folder):
    dashboard = asked(folder)
    assert dashboard.get("/api/run/healthy").json["run"]["steps"] == 200
    (folder / "healthy.surefoot").unlink()
    write_run(folder, "healthy", steps=50)
    assert dashboard.get("/api/run/healthy").json["run"]["steps"] == 50


def test_a_folder_may_come_later(asked, tmp_path, folder):
    later = tmp_path / "later"
    dashboard = asked(later)
    assert dashboard.get("/api/runs").json == {
        "folder": shown_folder(later),
        "runs": [],
    }
    assert dashboard.get("/").status == 200
    shutil.copytree(folder, later)
    assert len(dashboard.get("/api/runs").json["runs"]) == 2


HOSTILE = ("<script>alert(1)</script>", "'\"", "\u202egnp", "💥", "a b&c=d#e?f%41", "é")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_only_a_name(asked, folder, name):
    file = name.replace("/", "_")
    write_run(folder, file)
    dashboard = asked(folder)
    assert file in {one["name"] for one in dashboard.get("/api/runs").json["runs"]}
    address = f"/api/run/{quote(file, safe='')}"
    assert dashboard.get(address).json["run"]["name"] == file
    reply = dashboard.get(f"{address}/report")
    assert reply.status == 200
    assert reply.headers["content-disposition"].isascii()
    assert b"<script>alert" not in reply.body


def test_a_name_that_is_no_text_is_listed_and_hides_nothing(asked, folder):
    odd = os.fsencode(folder) + b"/\xff\xfe.surefoot"
    shutil.copy(folder / "healthy.surefoot", odd)
    dashboard = asked(folder)
    lines = dashboard.get("/api/runs").json["runs"]
    assert len(lines) == 3
    [line] = [one for one in lines if one["name"] not in ("healthy", "broken")]
    line["name"].encode()
    assert "rename" in line["trouble"]


ROUTES = (
    "/api/runs", "/api/run/healthy", "/api/run/healthy/panel",
    "/api/run/healthy/field", "/api/run/healthy/verdict", "/api/run/healthy/report",
    "/api/compare", "/", "/api/run/",
)  # fmt: skip
PARTS = st.sampled_from(
    ["name=loss", "name=grad_norm", "run=healthy", "kind=x", "stream=main", "points=9",
     "layer=fc.bias", "start=10", "stop=90", "width=16", "quantity=loss", "step=3"]
) | st.text(max_size=12).map(lambda text: quote(text, safe="=&%+;"))  # fmt: skip


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.sampled_from(ROUTES), st.text(max_size=8), st.lists(PARTS, max_size=5))
def test_nothing_that_is_asked_makes_the_server_fail(answering, route, tail, parts):
    target = f"{route}{quote(tail, safe='/%')}?{'&'.join(parts)}"
    assert answering.get(target).status in (200, 400, 404)
    assert answering.get(f"{route}?{'&'.join(parts)}").status in (200, 400, 404)
