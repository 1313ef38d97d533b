"""A run's page in a real Chromium, over a real server."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

import recorded
from browsing import pixels, sideways, view
from surefoot.record.writer import RecordWriter

pytestmark = pytest.mark.browser

ACCUSED = "0.weight"
SPIKE = 654_321
AXIS = 52
"""Pixels left of the first step of every chart."""


@pytest.fixture(scope="module")
def long_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("long")
    recorded.long_with_a_spike(folder / "long.surefoot", SPIKE)
    return folder


def judged(page: Page, heading: str) -> Locator:
    """The verdict, once the record has been examined."""
    verdict = view(page, "verdict")
    expect(verdict.locator("h2").first).to_have_text(heading, timeout=30_000)
    return verdict


def accused(page: Page) -> Locator:
    return judged(
        page, "Saturating activations in a deep network in 0.weight since step 0"
    )


def plot(page: Page) -> tuple[float, float]:
    """Where the first and the last step of the charts lie, in pixels of the page."""
    box = view(page, "loss").locator(".chart").bounding_box()
    return box["x"] + AXIS, box["x"] + box["width"]


# --- the verdict ------------------------------------------------------------------


def test_the_verdict_says_what_where_since_when_why_and_what_to_do(visit, gallery):
    page = visit().open(gallery.of("vanishing"))
    verdict = accused(page)
    for text in ("critical", "confidence 92 %", "What was seen", "What to do"):
        expect(verdict).to_contain_text(text)
    expect(verdict).to_contain_text("ReLU with Kaiming initialisation")
    expect(verdict).to_contain_text("Glorot et al. 2011")


def test_the_report_of_a_page_tells_the_same_from_a_file(visit, gallery, tmp_path):
    page = visit().open(gallery.of("vanishing"))
    live = accused(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Save this page as one file").click()
    assert download.value.suggested_filename == "vanishing.html"
    kept = tmp_path / "vanishing.html"
    download.value.save_as(kept)
    seen = visit()
    report = accused(seen.open(kept))
    assert report.inner_text() == live.inner_text()
    expect(view(seen.page, "heatmap").locator("canvas").first).to_be_visible()
    assert seen.requests == [kept.as_uri()]
    assert seen.complaints == []


# --- the linked charts ------------------------------------------------------------


def test_the_accused_layer_is_marked_and_a_click_shows_it_finely(visit, gallery):
    page = visit().open(gallery.of("vanishing"))
    accused(page)
    box = view(page, "heatmap").locator(".map")
    expect(box).to_have_attribute(
        "aria-label", re.compile(rf"Marked: {ACCUSED} from step 0\.")
    )
    layer = view(page, "layer").locator("h3 code")
    rows = 12
    height = 20
    _, right = plot(page)
    box.scroll_into_view_if_needed()
    place = {"x": right - box.bounding_box()["x"] - 40}
    box.click(position={**place, "y": (rows - 2.5) * height})
    expect(layer).to_have_text("8.bias")
    with page.expect_response(
        lambda one: "/panel?" in one.url and f"layer={ACCUSED}" in one.url
    ):
        # The page has held the fine line of the accused layer from the beginning:
        # a page that is loaded again asks for it when its cell is clicked.
        page.reload()
        box.scroll_into_view_if_needed()
        box.click(position={**place, "y": 0.5 * height})
    expect(layer).to_have_text(ACCUSED)


def test_one_step_of_a_million_is_a_pixel_of_loss_and_map(visit, ui, long_folder):
    page = visit().open(ui(long_folder).of("long"))
    expect(view(page, "heatmap").locator(".map")).to_be_visible()
    left, right = plot(page)
    expected = left + SPIKE / 1e6 * (right - left)
    assert abs(spike_of(page)[0] - expected) <= 3
    check_map(page, expected)


def spike_of(page: Page) -> tuple[float, float]:
    """Where the loss is drawn highest, in pixels of the page."""
    canvas = view(page, "loss").locator("canvas").first
    ratio = page.evaluate("devicePixelRatio")
    # A chart that is being drawn anew, with finer data, has no place for a moment.
    while (box := canvas.bounding_box()) is None:
        expect(canvas).to_be_visible()
    blue = np.abs(pixels(canvas)[..., :3].astype(int) - [13, 98, 179]).sum(axis=-1) < 90
    top = np.argmax(blue.any(axis=1))
    assert np.argmax(blue[::-1].any(axis=1)) < blue.shape[0] / 2
    return box["x"] + np.flatnonzero(blue[top]).mean() / ratio, box["y"] + top / ratio


def check_map(page: Page, expected: float) -> None:
    """One yellow cell, in the third of four rows, where the spike is."""
    canvas = view(page, "heatmap").locator("canvas").first
    ratio = page.evaluate("devicePixelRatio")
    picture = pixels(canvas)[..., :3].astype(int)
    yellow = np.abs(picture - [253, 231, 37]).sum(axis=-1) < 30
    height = 4 * round(110 / 4 * ratio)
    rows = np.flatnonzero(yellow[:height].any(axis=1))
    assert rows.min() >= 0.45 * height
    assert rows.max() <= 0.8 * height
    columns = np.flatnonzero(yellow[:height].any(axis=0)) / ratio
    at = canvas.bounding_box()["x"] + columns
    assert at.max() - at.min() <= 4
    assert abs(at.mean() - expected) <= 3


def test_zooming_in_asks_for_finer_data_until_single_steps_show(visit, ui, long_folder):
    page = visit().open(ui(long_folder).of("long"))
    told = view(page, "loss").locator(".readings")
    for _ in range(3):
        x, y = spike_of(page)
        with page.expect_response(lambda one: "name=loss&start" in one.url):
            page.mouse.move(x - 20, y + 30)
            page.mouse.down()
            page.mouse.move(x + 20, y + 30, steps=4)
            page.mouse.up()
    page.mouse.move(*spike_of(page))
    expect(told).to_contain_text("step 654,321")
    expect(told).to_contain_text("9")
    page.get_by_role("button", name="Show all steps").click()
    expect(page.get_by_role("button", name="Show all steps")).to_be_hidden()


def test_maps_that_did_not_come_along_are_fetched_when_chosen(visit, gallery):
    page = visit().open(gallery.of("dead_layer"))
    judged(page, re.compile("Dead ReLU in 5"))
    with page.expect_response(lambda one: "name=weight_norm" in one.url) as answer:
        page.get_by_role("radio", name="Weight norm").check(force=True)
    assert answer.value.ok
    expect(view(page, "layer").locator("h3")).to_contain_text("Weight norm")


# --- keyboard, phone, theme, paper ------------------------------------------------


def tab_to(page: Page, target: Locator, key: str = "Tab") -> None:
    """Press a key until an element has the focus, as somebody without a mouse does."""
    for _ in range(60):
        page.keyboard.press(key)
        if target.evaluate("one => one === document.activeElement"):
            return
    pytest.fail("the keyboard does not lead there")


def test_the_keyboard_leads_from_the_list_to_the_accused_cell_and_back(visit, gallery):
    page = visit().open(gallery.address)
    tab_to(page, page.get_by_role("link", name="vanishing"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("vanishing")
    accused(page)
    box = view(page, "heatmap").locator(".map")
    tab_to(page, box)
    page.keyboard.press("ArrowRight")
    spoken = box.locator("[aria-live]")
    expect(spoken).to_have_text(re.compile(rf"^{ACCUSED}, step \d+: gradient norm"))
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(view(page, "layer").locator("h3 code")).to_have_text("0.bias")
    tab_to(page, page.get_by_role("link", name="Surefoot, all runs"), "Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Runs")
    expect(page.get_by_role("heading", level=1)).to_be_focused()


def test_a_phone_never_scrolls_a_run_sideways(visit, gallery):
    phone = {"has_touch": True, "is_mobile": True}
    page = visit(390, 844, **phone).open(gallery.of("vanishing"))
    accused(page)
    expect(view(page, "heatmap").locator(".map")).to_be_visible()
    assert sideways(page) <= 390


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_follow_the_theme(visit, gallery, scheme):
    page = visit(color_scheme=scheme).open(gallery.of("plain"))
    expect(page.locator("html")).to_have_attribute("data-theme", scheme)
    canvas = view(page, "loss").locator("canvas").first
    expect(canvas).to_be_visible()
    before = pixels(canvas)
    page.get_by_role("button", name=re.compile("Switch to the")).click()
    assert not np.array_equal(before, pixels(canvas))


def test_paper_is_light_and_shows_no_buttons(visit, gallery):
    page = visit(color_scheme="dark").open(gallery.of("vanishing"))
    accused(page)
    page.emulate_media(media="print", color_scheme="dark")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    expect(page.get_by_role("button", name=re.compile("Switch to the"))).to_be_hidden()
    expect(accused(page)).to_be_visible()


# --- what is not there ------------------------------------------------------------


def test_a_run_that_there_is_not_says_so_and_leads_back(visit, gallery):
    page = visit().open(gallery.of("nobody"))
    main = page.get_by_role("alert").filter(has_text="nobody")
    expect(main).to_contain_text("There is no run 'nobody'")
    page.locator("main").get_by_role("link", name="All runs").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Runs")


def test_a_run_that_is_deleted_while_one_looks_is_told(visit, ui, tmp_path):
    path = recorded.case("plain", tmp_path / "doomed.surefoot")
    server = ui(tmp_path)
    page = visit().open(server.of("doomed"))
    expect(view(page, "loss")).to_be_visible()
    path.unlink()
    told = page.get_by_role("alert").filter(has_text=re.compile("doomed|gone|deleted"))
    expect(told.first).to_be_visible(timeout=10_000)
    page.get_by_role("link", name="Surefoot, all runs").click()
    expect(page.get_by_role("heading", name="No run here yet")).to_be_visible()


def test_damaged_records_are_told_and_hide_no_others(visit, ui, tmp_path):
    whole = recorded.case("plain", tmp_path / "whole.surefoot").read_bytes()
    (tmp_path / "empty.surefoot").write_bytes(b"")
    (tmp_path / "noise.surefoot").write_bytes(np.random.default_rng(0).bytes(50_000))
    (tmp_path / "truncated.surefoot").write_bytes(whole[: len(whole) // 2])
    server = ui(tmp_path)
    page = visit().open(server.address)
    rows = view(page, "runs").locator("tbody tr")
    expect(rows).to_have_count(4)
    for name in ("empty", "noise"):
        row = rows.filter(has_text=name)
        expect(row).to_contain_text("unreadable")
        expect(row).to_contain_text("expected a")
    truncated = rows.filter(has_text="truncated")
    expect(truncated).to_contain_text("is damaged")
    truncated.get_by_role("link").click()
    expect(view(page, "loss").locator("canvas").first).to_be_visible()
    page.goto(server.of("noise"))
    expect(page.get_by_role("alert").first).to_be_visible()
    page.goto(server.of("whole"))
    expect(view(page, "loss").locator("canvas").first).to_be_visible()


def test_a_record_that_breaks_while_it_is_looked_at_is_told(visit, ui, tmp_path):
    path = tmp_path / "breaking.surefoot"
    writer = RecordWriter(path, {})
    recorded.append(writer, recorded.series("loss", np.linspace(2, 1, 200)))
    page = visit().open(ui(tmp_path).of("breaking"))
    expect(view(page, "loss")).to_contain_text("last, step 199")
    recorded.end(writer, 199)
    expect(page.locator("header.masthead")).to_contain_text("finished")
    path.write_bytes(b"no record at all" * 1000)
    told = page.get_by_role("alert").filter(has_text="is damaged")
    expect(told).to_be_visible(timeout=10_000)
