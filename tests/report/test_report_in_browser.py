"""The report in a real Chromium: opened from disk, looked at, clicked, typed at."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from browsing import pixels, sideways, view
from surefoot.report.page import write_report
from surefoot.types import Event, Facts

pytestmark = pytest.mark.browser

HOSTILE = "</script><img src=x onerror=document.title='owned'>"
ONSET_LAYER = "blocks.7.attn.qkv.weight"
SPIKE = 3417


@pytest.fixture
def sigmoid_page(sigmoid_run, vanishing, verdict, failed_verdict, tmp_path) -> Path:
    out = tmp_path / "sigmoid.html"
    return write_report(sigmoid_run, [vanishing], out, [verdict, failed_verdict])


@pytest.fixture
def spike_page(transformer_run, spike_diagnoses, tmp_path) -> Path:
    return write_report(transformer_run, spike_diagnoses, tmp_path / "spike.html")


def test_opens_from_disk_and_asks_nothing_of_a_network(visit, sigmoid_page):
    seen = visit()
    page = seen.open(sigmoid_page)
    expect(view(page, "verdict")).to_be_visible()
    page.mouse.move(640, 450)
    page.wait_for_timeout(100)
    assert seen.requests == [sigmoid_page.as_uri()]
    assert seen.complaints == []


def test_the_verdict_comes_first_and_is_complete(visit, sigmoid_page):
    page = visit().open(sigmoid_page)
    heading = page.locator("main h2").first
    expect(heading).to_have_text("Vanishing gradients in net.0.weight since step 0")
    verdict = view(page, "verdict")
    for text in ("confidence 93 %", "9.4 × 10⁻⁸", "bound 0.001, 11,000× below"):
        expect(verdict).to_contain_text(text)
    expect(verdict.locator("ol.remedies > li")).to_have_count(3)
    expect(verdict).to_contain_text("Glorot & Bengio 2010")
    assert heading.bounding_box()["y"] < 200


def test_tried_remedies_show_seeds_and_interval(visit, sigmoid_page):
    trials = view(visit().open(sigmoid_page), "trials")
    expect(trials).to_contain_text("✓ helped")
    expect(trials).to_contain_text("✗ not shown to help")
    expect(trials).to_contain_text("95 % interval +0.831 to +0.873, 5 seeds")
    expect(trials.locator("svg circle.baseline")).to_have_count(10)
    expect(trials.locator("svg rect.treated")).to_have_count(10)


def test_a_healthy_run_says_what_was_looked_at(visit, sigmoid_run, tmp_path):
    page = visit().open(write_report(sigmoid_run, [], tmp_path / "r.html"))
    verdict = view(page, "verdict")
    expect(verdict).to_contain_text("Nothing wrong found in 600 steps")
    expect(verdict).to_contain_text("Looked at loss, learning rate")


def test_the_map_is_drawn_and_the_accused_row_is_marked(visit, sigmoid_page):
    page = visit().open(sigmoid_page)
    picture = pixels(view(page, "heatmap").locator("canvas").first)
    rows = 20
    inside = picture[:400, 400:-50]
    lightness = inside[..., :3].mean(axis=(1, 2)).reshape(rows, -1).mean(axis=1)
    # The deeper the layer, the larger its gradient, the lighter its row.
    assert lightness[-1] > lightness[0] + 60
    assert len(np.unique(inside.reshape(-1, 4), axis=0)) > 50
    alarm = np.array([188, 58, 8])
    reddish = (np.abs(picture[..., :3].astype(int) - alarm).sum(axis=-1) < 30).sum(
        axis=1
    )
    assert reddish[20:23].max() > 500, "no outline below the first row"
    assert reddish[60:380].max() < 30, "other rows are outlined too"


def test_a_click_on_a_cell_shows_that_layer(visit, spike_page):
    page = visit().open(spike_page)
    layer = view(page, "layer").locator("h3 code")
    expect(layer).to_have_text(ONSET_LAYER)
    box = view(page, "heatmap").locator(".map")
    box.scroll_into_view_if_needed()
    size = box.bounding_box()
    row = 10.5 / 74 * 460
    box.hover(position={"x": size["width"] - 60, "y": row})
    expect(page.locator(".tip")).to_contain_text("blocks.1.attn.proj.weight")
    box.click(position={"x": size["width"] - 60, "y": row})
    expect(layer).to_have_text("blocks.1.attn.proj.weight")


def test_the_spike_is_visible_in_the_loss(visit, spike_page):
    page = visit().open(spike_page)
    loss = view(page, "loss")
    canvas = loss.locator("canvas")
    picture = pixels(canvas)
    blue = np.array([13, 98, 179])
    drawn = np.abs(picture[..., :3].astype(int) - blue).sum(axis=-1) < 90
    late = drawn.copy()
    late[:, : drawn.shape[1] // 3] = False  # the start of training is high too
    top = np.argmax(late.any(axis=1))
    at = np.flatnonzero(late[top])[0]
    left = 52 * page.evaluate("devicePixelRatio")
    expected = left + SPIKE / 6000 * (picture.shape[1] - left)
    assert abs(at - expected) <= 4
    assert top < 0.5 * picture.shape[0]
    expect(loss.locator(".chart")).to_have_attribute(
        "aria-label", re.compile(f"loss spike at step {SPIKE}")
    )


def test_dragging_zooms_all_charts_and_a_button_shows_all(visit, spike_page):
    page = visit().open(spike_page)
    box = view(page, "heatmap").locator(".map")
    box.scroll_into_view_if_needed()
    size = box.bounding_box()
    before = pixels(view(page, "loss").locator("canvas"))
    page.mouse.move(size["x"] + 500, size["y"] + 60)
    page.mouse.down()
    page.mouse.move(size["x"] + 700, size["y"] + 60, steps=5)
    page.mouse.up()
    everything = page.get_by_role("button", name="Show all steps")
    expect(everything).to_be_visible()
    page.wait_for_timeout(50)
    assert not np.array_equal(before, pixels(view(page, "loss").locator("canvas")))
    everything.click()
    expect(everything).to_be_hidden()


def test_pointing_at_the_map_reads_the_loss_at_that_step(visit, spike_page):
    page = visit().open(spike_page)
    box = view(page, "heatmap").locator(".map")
    box.hover(position={"x": 400, "y": 100})
    told = view(page, "loss").locator(".readings .at")
    expect(told).to_have_text(re.compile(r"^step \d,\d{3}$"))
    page.mouse.move(5, 5)
    expect(told).to_have_text(re.compile("^last, step"))


def test_quantities_are_chosen_with_the_keyboard_alone(visit, sigmoid_page):
    page = visit().open(sigmoid_page)
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the charts")).to_be_focused()
    page.keyboard.press("Enter")
    chosen = view(page, "quantities").locator("input:checked")
    expect(chosen).to_have_value("grad_norm")
    chosen.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(chosen).to_have_value("saturated_share")
    expect(view(page, "layer").locator("h3")).to_contain_text("Saturated share")


def test_the_map_is_walked_with_the_keyboard(visit, sigmoid_page):
    page = visit().open(sigmoid_page)
    box = view(page, "heatmap").locator(".map")
    box.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    spoken = box.locator("[aria-live]")
    expect(spoken).to_have_text(re.compile(r"^net\.2\.weight, step 3: gradient norm"))
    page.keyboard.press("Enter")
    expect(view(page, "layer").locator("h3 code")).to_have_text("net.2.weight")
    page.keyboard.press("+")
    expect(page.get_by_role("button", name="Show all steps")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Show all steps")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_systems_theme_is_followed_and_can_be_flipped(visit, sigmoid_page, scheme):
    page = visit(color_scheme=scheme).open(sigmoid_page)

    def lightness() -> float:
        colour = page.evaluate(
            "getComputedStyle(document.documentElement).backgroundColor"
        )
        return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3

    assert (lightness() > 128) == (scheme == "light")
    before = pixels(view(page, "loss").locator("canvas"))
    page.get_by_role("button", name="Switch to the").click()
    assert (lightness() > 128) == (scheme == "dark")
    assert not np.array_equal(before, pixels(view(page, "loss").locator("canvas")))


def test_paper_is_light_even_from_a_dark_screen(visit, sigmoid_page):
    page = visit(color_scheme="dark").open(sigmoid_page)
    page.emulate_media(media="print", color_scheme="dark")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    expect(page.get_by_role("button", name="Switch to the")).to_be_hidden()


@pytest.mark.parametrize("width", [360, 412])
def test_a_phone_never_scrolls_sideways(visit, spike_page, sigmoid_page, width):
    for path in (spike_page, sigmoid_page):
        page = visit(width, 780, has_touch=True, is_mobile=True).open(path)
        expect(view(page, "heatmap")).to_be_visible()
        for summary in page.locator("summary").all():
            summary.click()
        page.wait_for_timeout(50)
        assert sideways(page) <= width


def test_a_tap_on_a_phone_shows_the_layer(visit, sigmoid_page):
    page = visit(390, 844, has_touch=True, is_mobile=True).open(sigmoid_page)
    box = view(page, "heatmap").locator(".map")
    box.tap(position={"x": 200, "y": 4 * 20 + 10})
    expect(view(page, "layer").locator("h3 code")).to_have_text("net.4.weight")


NAMES = (
    HOSTILE,
    "\"quoted'`${1}",
    "\u202eturned.weight",
    "x" * 10_000,
    "🙂" * 40,
    "half\ud800",
    "<b>bold</b>&amp;",
)


def test_hostile_names_are_shown_as_text(visit, a_run, a_series, vanishing, tmp_path):
    rng = np.random.default_rng(0)
    run = a_run(
        a_series("loss", rng.random(50)),
        a_series("grad_norm", rng.random((50, len(NAMES))), layers=NAMES),
        a_series("metric", rng.random((50, 2)), layers=[HOSTILE, "b"]),
        known={
            "main": Facts(model=HOSTILE, optimizer=HOSTILE, options={HOSTILE: HOSTILE})
        },
        meta={"script": HOSTILE, "argv": [HOSTILE], "versions": {HOSTILE: HOSTILE}},
        told=[
            Event(3, HOSTILE, {"text": HOSTILE}),
            Event(4, "note", {"text": HOSTILE}),
        ],
        path=Path(f"{'<b>' * 3}.surefoot"),
    )
    bad = replace(vanishing, layer=HOSTILE, cause=HOSTILE, about=HOSTILE)
    seen = visit(360, 780)
    page = seen.open(write_report(run, [bad], tmp_path / "r.html"))
    expect(page.locator("main h2").first).to_contain_text(HOSTILE)
    expect(view(page, "layer").locator("h3 code")).to_have_text(HOSTILE)
    expect(view(page, "events")).to_contain_text(HOSTILE)
    assert page.title() == "<b><b><b> · Surefoot"
    assert page.locator("img, b > b").count() == 0
    assert sideways(page) <= 360
    assert seen.complaints == []
    assert len(seen.requests) == 1


def test_the_policy_stops_a_script_that_is_not_ours(visit, sigmoid_page):
    page = visit().open(sigmoid_page)
    page.evaluate(
        "const s = document.createElement('script');"
        "s.textContent = 'window.owned = 1'; document.body.append(s)"
    )
    refused = page.evaluate("fetch('file:///').then(() => 'sent', () => 'refused')")
    assert page.evaluate("window.owned") is None
    assert refused == "refused"


def test_a_browser_without_a_valid_language_shows_the_page_too(visit, sigmoid_page):
    seen = visit()
    seen.page.add_init_script(
        "Object.defineProperty(navigator, 'language',"
        " {value: 'en-US@posix', configurable: true})"
    )
    expect(view(seen.open(sigmoid_page), "verdict")).to_be_visible()
    assert seen.complaints == []


@pytest.mark.parametrize("why", ["scripts are off", "the script broke"])
def test_without_a_script_the_diagnosis_is_still_readable(visit, sigmoid_page, why):
    if why == "the script broke":
        text = sigmoid_page.read_text("utf-8").replace(
            "<script>(function", "<script>(f"
        )
        sigmoid_page.write_text(text, "utf-8")
    page = visit(java_script_enabled=why != "scripts are off").open(sigmoid_page)
    said = page.locator("pre")
    expect(said).to_be_visible()
    expect(said).to_contain_text("Vanishing gradients in net.0.weight, since step 0")


def test_data_of_another_format_is_a_readable_message(visit, sigmoid_page):
    text = sigmoid_page.read_text("utf-8").replace('{"format":2,', '{"format":99,')
    sigmoid_page.write_text(text, "utf-8")
    page = visit().open(sigmoid_page)
    expect(page.locator("main")).to_contain_text(
        "The data has format 99, this page reads format 2."
    )


def test_two_optimizers_can_be_looked_at_in_turn(
    visit, a_run, a_series, vanishing, tmp_path
):
    run = a_run(
        a_series("loss", np.ones(20), stream="generator"),
        a_series("grad_norm", np.ones((20, 1)), layers=["g.w"], stream="generator"),
        a_series("loss", np.ones(20), stream="critic"),
        a_series("grad_norm", np.ones((20, 1)), layers=["c.w"], stream="critic"),
    )
    found = replace(vanishing, layer="c.w", stream="critic")
    page = visit().open(write_report(run, [found], tmp_path / "r.html"))
    expect(view(page, "layer").locator("h3 code")).to_have_text("c.w")
    page.get_by_label("Optimizer").select_option("generator")
    expect(view(page, "layer").locator("h3 code")).to_have_text("g.w")
