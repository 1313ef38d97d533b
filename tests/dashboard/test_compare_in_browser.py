"""Several runs side by side in a real Chromium, over a real server."""

from __future__ import annotations

import re

import numpy as np
import pytest
from playwright.sync_api import Page, expect

import recorded
from browsing import pixels, sideways, view

pytestmark = pytest.mark.browser

RUNS = ("plain", "vanishing", "dead_layer")


def chart(page: Page) -> np.ndarray:
    return pixels(view(page, "comparison").locator("canvas").first)


def test_runs_are_drawn_and_listed_by_their_last_value(visit, gallery):
    seen = visit()
    page = seen.open(gallery.comparison(*RUNS))
    listed = page.get_by_role("list", name="Runs by their last value").locator("li")
    expect(listed).to_have_count(3)
    expect(listed.nth(0)).to_contain_text("plain")
    expect(listed.nth(0)).to_contain_text("0.118")
    expect(listed.filter(has_text="dead_layer")).to_contain_text(
        "Dead ReLU", timeout=30_000
    )
    colours = {tuple(one) for one in chart(page).reshape(-1, 4) if one[3] == 255}
    assert len(colours) > 20
    assert seen.complaints == []


def test_lines_are_told_apart_by_more_than_colour(visit, ui, tmp_path):
    names = [f"run{at:02}" for at in range(12)]
    for at, name in enumerate(names):
        loss = recorded.series("loss", np.linspace(2, 1 + at, 50))
        recorded.write(tmp_path / f"{name}.surefoot", loss)
    page = visit().open(ui(tmp_path).comparison(*names))
    strokes = page.get_by_role("list", name="Runs by their last value").locator(
        "svg line, svg path"
    )
    expect(strokes).to_have_count(12)
    signs = strokes.evaluate_all(
        "all => all.map(one => [one.getAttribute('stroke') ?? one.style.stroke,"
        " one.getAttribute('stroke-dasharray') ?? one.style.strokeDasharray].join())"
    )
    assert len(set(signs)) == 12


def test_one_run_is_brought_out_with_the_keyboard(visit, gallery):
    page = visit().open(gallery.comparison(*RUNS))
    button = page.get_by_role("button", name="Bring out vanishing")
    expect(button).to_be_visible()
    before = chart(page)
    button.focus()
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-pressed", "true")
    page.wait_for_function(
        "() => new Promise(done => requestAnimationFrame(() => done(true)))"
    )
    assert not np.array_equal(before, chart(page))


def test_another_quantity_is_chosen_and_stands_in_the_address(visit, gallery):
    page = visit().open(gallery.comparison(*RUNS))
    page.get_by_label("Quantity").select_option("lr")
    expect(page).to_have_url(re.compile("quantity=lr$"))
    expect(view(page, "comparison")).to_have_attribute(
        "aria-label", re.compile("Learning rate of 3 runs")
    )
    page.go_back()
    expect(view(page, "comparison")).to_have_attribute(
        "aria-label", re.compile("Loss of 3 runs")
    )


def test_a_run_that_cannot_be_read_is_told_beside_the_others(visit, ui, tmp_path):
    recorded.case("plain", tmp_path / "plain.surefoot")
    (tmp_path / "noise.surefoot").write_bytes(b"no record" * 999)
    page = visit().open(ui(tmp_path).comparison("plain", "noise", "nobody"))
    part = view(page, "comparison")
    expect(part.locator("canvas").first).to_be_visible()
    expect(part).to_contain_text("noise.surefoot is damaged")
    expect(part).to_contain_text("there is no run 'nobody'")


def test_a_comparison_grows_with_its_runs(visit, ui, tmp_path):
    recorded.case("plain", tmp_path / "plain.surefoot")
    path = tmp_path / "live.surefoot"
    writer = recorded.RecordWriter(path, {})
    recorded.append(writer, recorded.series("loss", np.linspace(2, 1.5, 100)))
    page = visit().open(ui(tmp_path).comparison("plain", "live"))
    live = page.get_by_role("list", name="Runs by their last value").locator("li")
    live = live.filter(has_text="live")
    expect(live).to_contain_text("1.5")
    recorded.append(writer, recorded.series("loss", np.full(50, 0.25), first=100))
    expect(live).to_contain_text("0.25", timeout=10_000)
    recorded.end(writer, 149)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_compares_without_scrolling_sideways(visit, gallery, scheme):
    phone = {"has_touch": True, "is_mobile": True, "color_scheme": scheme}
    page = visit(390, 844, **phone).open(gallery.comparison(*RUNS))
    expect(page.locator("html")).to_have_attribute("data-theme", scheme)
    expect(view(page, "comparison").locator("canvas").first).to_be_visible()
    assert sideways(page) <= 390
