"""The list of runs in a real Chromium, over a real server."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from browsing import sideways, view

pytestmark = pytest.mark.browser

SPOKEN = {
    "plain": "nothing wrong found",
    "vanishing": "Saturating activations in a deep network in 0.weight since step 0",
    "spike_of_bad_input": "Bad batch in the whole run since step 150",
    "nan_in_module": "Numeric fault in 4 since step 120",
    "dead_layer": "Dead ReLU in 5 since step 150",
}


def row(page: Page, name: str) -> Locator:
    named = page.get_by_role("rowheader", name=name, exact=True)
    return view(page, "runs").locator("tbody tr").filter(has=named)


def test_every_run_is_listed_with_its_state_and_verdict(visit, gallery):
    seen = visit()
    page = seen.open(gallery.address)
    expect(page.get_by_role("heading", level=1)).to_have_text("Runs")
    expect(page.get_by_role("status").filter(has_text="5 runs")).to_be_visible()
    for name, told in SPOKEN.items():
        expect(row(page, name)).to_contain_text("finished")
        # The records hold no last word: they are examined while one looks on.
        expect(row(page, name)).to_contain_text(told, timeout=30_000)
    expect(row(page, "nan_in_module")).to_contain_text("not a number")
    assert seen.complaints == []
    assert all(url.startswith(gallery.address) for url in seen.requests)


def test_the_list_is_filtered_and_sorted(visit, gallery):
    page = visit().open(gallery.address)
    names = view(page, "runs").locator("tbody th")
    expect(names).to_have_count(5)
    page.get_by_role("button", name="Run").click()
    expect(names).to_have_text(sorted(SPOKEN))
    page.get_by_role("button", name="Run").click()
    expect(names).to_have_text(sorted(SPOKEN, reverse=True))
    page.get_by_role("searchbox").fill("dead")
    expect(names).to_have_text(["dead_layer"])
    expect(page.get_by_role("status").filter(has_text="1 of 5 runs")).to_be_visible()


def test_no_state_is_told_by_colour_alone(visit, gallery):
    page = visit().open(gallery.address)
    shapes = set()
    for name in ("plain", "spike_of_bad_input", "dead_layer"):
        said = row(page, name).locator("td.told")
        expect(said).to_contain_text(SPOKEN[name], timeout=30_000)
        shapes.add(said.locator("svg").inner_html())
    assert len(shapes) == 3, "healthy, warning and critical have shapes of their own"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_list_follows_the_systems_theme(visit, gallery, scheme):
    page = visit(color_scheme=scheme).open(gallery.address)
    expect(row(page, "plain")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("data-theme", scheme)
    page.get_by_role("button", name=re.compile("Switch to the")).click()
    other = "dark" if scheme == "light" else "light"
    expect(page.locator("html")).to_have_attribute("data-theme", other)


def test_a_phone_shows_the_list_without_scrolling_sideways(visit, gallery):
    page = visit(390, 844, has_touch=True, is_mobile=True).open(gallery.address)
    for name, told in SPOKEN.items():
        expect(row(page, name)).to_contain_text(told, timeout=30_000)
    assert sideways(page) <= 390


def test_runs_are_chosen_and_compared(visit, gallery):
    page = visit().open(gallery.address)
    for name in ("plain", "dead_layer"):
        row(page, name).get_by_role("checkbox").check()
    page.get_by_role("link", name="Compare 2 runs").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("2 runs compared")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    expect(view(page, "comparison").locator("canvas")).to_be_visible()


def test_an_empty_folder_says_how_runs_come_there(visit, ui, tmp_path):
    folder = tmp_path / "not yet"
    page = visit().open(ui(folder).address)
    expect(page.get_by_role("heading", name="No run here yet")).to_be_visible()
    expect(page.locator("main")).to_contain_text("surefoot run train.py")
    expect(page.locator("main")).to_contain_text(folder.name)
