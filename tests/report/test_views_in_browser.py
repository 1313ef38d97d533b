"""The views beside the charts in a real Chromium: pointed at, walked, turned."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect

from browsing import pixels, sideways, view
from surefoot.report.page import write_report
from surefoot.types import Event, Field, Module

pytestmark = pytest.mark.browser

HOSTILE = "</script><img src=x onerror=document.title='owned'>"
STEPS = 600
TICKS = np.linspace(-2, 2, 41)
CURVATURE = np.array([4.0, 0.5])


def descent() -> np.ndarray:
    """Gradient descent on 0.5 x'Hx from the corner, the points it goes through."""
    points = [np.array([1.8, -1.6])]
    for _ in range(40):
        points.append(points[-1] * (1 - 0.2 * CURVATURE))
    return np.array(points)


def bowl() -> Field:
    alpha, beta = np.meshgrid(TICKS, TICKS, indexing="ij")
    loss = 0.5 * (CURVATURE[0] * alpha**2 + CURVATURE[1] * beta**2) + 0.01
    about = {"path": descent().tolist(), "explained": [0.8, 0.2]}
    axes = {"alpha": TICKS.tolist(), "beta": TICKS.tolist()}
    return Field(STEPS - 1, "landscape", axes, loss.astype(np.float32), about=about)


def spectra() -> list[Field]:
    """A bulk at zero, and a top eigenvalue that grows."""
    at = np.linspace(-1, 6, 200)
    made = []
    for step, top in ((0, 2.0), (300, 4.0), (599, 5.0)):
        density = np.exp(-((at / 0.2) ** 2)) + 0.01 * np.exp(-(((at - top) / 0.1) ** 2))
        axes = {"layer": ["run"], "eigenvalue": at.tolist()}
        about = {"top": [top, 0.3]}
        values = density[None].astype(np.float32)
        made.append(Field(step, "spectrum", axes, values, about=about))
    return made


def histograms(layers: list[str]) -> list[Field]:
    """Gradients that shrink from step to step; a tenth are exact zeros."""
    rng = np.random.default_rng(5)
    edges = np.arange(-32, 0, 0.5)  # of log2 |gradient|
    made = []
    for at, step in enumerate((0, 100, 200, 400)):
        rows = []
        for _ in layers:
            log2 = rng.normal(-6 - 3 * at, 1.5, 900)
            inner, _ = np.histogram(log2, [*edges, 0.0])
            rows.append([100, *inner, 0])
        axes = {"layer": layers, "bin": ["zero", *edges.tolist(), 0.0]}
        values = np.array(rows, np.float32)
        made.append(Field(step, "grad_histogram", axes, values))
    return made


@pytest.fixture
def rich_run(sigmoid_run, a_series) -> Any:
    """The sigmoid net with everything beside its charts."""
    rng = np.random.default_rng(2)
    layers = list(sigmoid_run.series("grad_norm").layers)
    moved = -rng.random((60, len(layers))) * np.linspace(0.1, 3, len(layers))
    lr = np.where(np.arange(STEPS) < 300, 0.1, 0.01)
    extra = (
        a_series("contribution", moved, layers=layers, every=10),
        a_series("directional_sharpness", 1 + 1.5 * rng.random(40), every=15),
        a_series("lr", lr, layers=["group0"]),
    )
    for one in extra:
        sigmoid_run.found[one.stream, one.quantity] = one
    loss = sigmoid_run.series("loss").values.copy()
    loss[321] = 9.0
    sigmoid_run.found["main", "loss"] = a_series("loss", loss)
    sigmoid_run.fields = [bowl(), *spectra(), *histograms(layers)]
    change = {"knob": "lr", "op": "scale", "amount": 0.1, "layers": []}
    told = {"before": "lr × 1", "after": "lr × 0.1", "why": "the loss spiked"}
    sigmoid_run.told += [
        Event(300, "change", change | told),
        Event(200, "checkpoint", {"path": HOSTILE}),
    ]
    return sigmoid_run


@pytest.fixture
def rich_page(rich_run, vanishing, tmp_path) -> Path:
    return write_report(rich_run, [vanishing], tmp_path / "rich.html")


def test_shares_of_the_updates_are_read_by_pointing(visit, rich_page):
    page = visit().open(rich_page)
    shares = view(page, "contributions")
    table = shares.locator("table")
    expect(table.get_by_role("row")).to_have_count(10)  # a head, eight and the rest
    expect(table).to_contain_text("net.18.bias")
    read = shares.locator(".readings .at")
    last = read.text_content()
    shares.locator(".chart").hover(position={"x": 300, "y": 100})
    expect(read).not_to_have_text(last or "")
    expect(shares.locator(".chosen")).to_have_count(1)
    parts = shares.locator(".readings b").all_text_contents()
    assert sum(int(part.split()[0]) for part in parts) == pytest.approx(100, abs=5)
    expect(view(page, "loss").locator(".readings .at")).to_have_text(
        re.compile(r"^step \d+$")
    )


def test_the_edge_of_stability_moves_with_the_schedule(visit, rich_page):
    page = visit().open(rich_page)
    curvature = view(page, "curvature")
    loss = view(page, "loss").locator(".chart")
    loss.hover(position={"x": 150, "y": 60})
    expect(curvature).to_contain_text("202 / learning rate")
    loss.hover(position={"x": 700, "y": 60})
    expect(curvature).to_contain_text("2002 / learning rate")
    expect(page.locator(".track-note")).to_contain_text("of 40 readings")


def test_tracked_sharpness_lies_beside_the_line_of_the_schedule(
    visit, rich_run, a_series, tmp_path
):
    rates = np.where(np.arange(0, STEPS, 15) < 300, 0.1, 0.01)
    values = np.linspace(5, 30, len(rates))
    for name, row in (
        ("sharpness", values),
        ("sharpness_error", 0.01 * values),
        ("sharpness_sampling_error", 0.2 * values),
        ("stability_ratio", values / (2 / rates)),
    ):
        rich_run.found["main", name] = a_series(name, row, every=15)
    page = visit().open(write_report(rich_run, [], tmp_path / "tracked.html"))
    shown = view(page, "tracked")
    expect(shown.locator(".readings")).to_contain_text("30")
    expect(shown.locator(".readings")).to_contain_text("200")
    expect(shown.locator(".readings")).to_contain_text("2 / learning rate")
    note = page.locator(".track-note").first
    expect(note).to_contain_text(f"of {len(rates)} readings")
    expect(note).to_contain_text("20 % more or less")
    expect(page.locator("[data-view=stability_ratio]")).to_have_count(0)


def test_a_click_on_a_cell_shows_the_histogram_there(visit, rich_page):
    page = visit().open(rich_page)
    shown = view(page, "histogram")
    expect(shown).to_contain_text("net.0.weight")
    expect(shown.locator(".at")).to_have_text("step 400, one of 4")
    cells = view(page, "heatmap").locator(".map")
    cells.scroll_into_view_if_needed()
    size = cells.bounding_box()
    plot = size["width"] - 190
    cells.click(position={"x": 190 + plot * 250 / 600, "y": 5})
    expect(shown.locator(".at")).to_have_text("step 200, one of 4")
    expect(shown).to_contain_text("10 %exactly zero")
    shown.locator("canvas").focus()
    page.keyboard.press("ArrowLeft")
    expect(shown.locator(".at")).to_have_text("step 100, one of 4")


def test_the_surface_is_turned_by_keys_and_by_hand(visit, rich_page):
    page = visit().open(rich_page)
    land = view(page, "landscape")
    canvas = land.locator(".surface canvas")
    canvas.scroll_into_view_if_needed()
    said = canvas.get_attribute("aria-label") or ""
    assert "from 7.13 at its start to 0.01" in said

    def settled() -> np.ndarray:
        # Two frames: the drawing waits for the next one.
        page.evaluate(
            "new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))"
        )
        return pixels(canvas)

    canvas.focus()
    page.keyboard.press("Escape")
    front = settled()
    for key in ("ArrowLeft", "ArrowUp", "+"):
        before = settled()
        page.keyboard.press(key)
        assert not np.array_equal(before, settled()), key
    box = canvas.bounding_box()
    before = settled()
    page.mouse.move(box["x"] + 200, box["y"] + 150)
    page.mouse.down()
    page.mouse.move(box["x"] + 260, box["y"] + 150, steps=3)
    page.mouse.up()
    assert not np.array_equal(before, settled())
    land.get_by_role("button", name="Put back").click()
    page.mouse.move(0, 0)
    after = settled()
    assert front.shape == after.shape
    assert np.abs(front.astype(int) - after).mean() < 4


def test_the_map_of_the_surface_tells_the_loss(visit, rich_page):
    page = visit().open(rich_page)
    plan = view(page, "landscape").locator(".contours")
    plan.scroll_into_view_if_needed()
    size = plan.locator("canvas").bounding_box()
    middle = {
        "x": 46 + (size["width"] - 56) / 2,
        "y": 8 + (size["height"] - 32) / 2,
    }
    plan.hover(position=middle)
    expect(plan.locator(".tip")).to_contain_text(re.compile(r"loss 0\.01"))


def slices() -> list[Field]:
    """A holed surface of few computed points, and a line with a gap."""
    whole = bowl()
    values = whole.values.copy()
    values[30:, 30:] = np.nan
    ticks = TICKS.tolist()
    told = {
        "title": "random plane",
        "directions": ["random 1", "random 2"],
        "evaluated": [[i, j] for i in range(0, 41, 5) for j in range(0, 41, 5)],
        "error": {"median": 0.001, "p95": 0.02, "max": 0.1},
        "marks": [{"at": [0.5, 0.5], "label": HOSTILE}],
        "mode": "train",
    }
    surface = Field(whole.step, "landscape", whole.axes, values, about=told)
    about = {"title": "random line", "marks": [{"at": [0.0], "label": HOSTILE}]}
    line = Field(whole.step, "landscape", {"alpha": ticks}, values[:, 35], about=about)
    return [whole, surface, line]


def test_slices_of_one_step_are_chosen_by_their_titles(visit, rich_run, tmp_path):
    rich_run.fields = slices()
    seen = visit()
    page = seen.open(write_report(rich_run, [], tmp_path / "slices.html"))
    land = view(page, "landscape")
    chooser = land.get_by_role("combobox")
    expect(chooser.locator("option")).to_have_text(
        ["landscape", "random plane", "random line"]
    )
    chooser.select_option("random plane")
    expect(land.locator(".note")).to_contain_text(
        "81 of 1,681 points computed; elsewhere interpolated, error 0.1 % median, "
        "2 % p95 of the range."
    )
    expect(land.locator(".note")).to_contain_text("121 of 1,681 points without")
    plan = land.locator(".contours canvas")
    before = plan.screenshot()
    land.get_by_role("checkbox", name="computed points").uncheck()
    assert plan.screenshot() != before
    plan.focus()
    page.keyboard.press("ArrowUp")
    expect(land.locator(".tip")).to_contain_text("loss 0.01")
    chooser.select_option("random line")
    line = land.locator(".loss-line canvas")
    line.focus()
    for key, told in (
        ("ArrowRight", "loss 0.573"),
        ("Home", "loss 8.57"),
        ("End", "not finite"),
    ):
        page.keyboard.press(key)
        expect(land.locator(".tip")).to_contain_text(told)
    assert page.locator("img").count() == 0
    assert seen.complaints == []


def test_a_spectrum_is_chosen_by_its_step(visit, rich_page):
    page = visit().open(rich_page)
    spectrum = view(page, "spectra")
    expect(spectrum).to_contain_text("Largest: 5, 0.3.")
    slider = spectrum.get_by_role("slider")
    slider.focus()
    page.keyboard.press("Home")
    expect(slider).to_have_attribute("aria-valuetext", "step 0")
    expect(spectrum).to_contain_text("Largest: 2, 0.3.")


def test_the_model_s_tree_leads_to_the_layer(visit, rich_page):
    page = visit().open(rich_page)
    tree = page.get_by_role("tree")
    accused = tree.locator(".accused")
    expect(accused).to_contain_text("critical: vanishing gradients")
    expect(accused).to_have_attribute("tabindex", "0")
    accused.focus()
    for key in ("End", "Enter"):
        page.keyboard.press(key)
    expect(tree.locator("[aria-selected=true]")).to_have_text(re.compile("^18Linear"))
    expect(view(page, "layer").locator("h3 code")).to_have_text("net.18.weight")


def test_a_batch_that_stands_out_leads_to_its_step(visit, rich_page):
    page = visit().open(rich_page)
    batches = view(page, "batches")
    expect(batches.locator("tbody tr").first).to_contain_text("loss")
    batches.get_by_role("button", name="Show step 321").press("Enter")
    expect(page.get_by_role("button", name="Show all steps")).to_be_visible()
    expect(view(page, "loss").locator(".readings")).to_contain_text("step 3219")


def test_events_are_filtered_and_walked(visit, rich_page):
    seen = visit()
    page = seen.open(rich_page)
    events = view(page, "events")
    expect(events).to_contain_text("lr × 1 → lr × 0.1the loss spiked")
    expect(events).to_contain_text(f"Checkpoint written to {HOSTILE}")
    events.get_by_role("button", name="checkpoint").click()
    expect(events).not_to_contain_text("Checkpoint written")
    strip = view(page, "event-strip")
    strip.locator(".chart").focus()
    page.keyboard.press("Home")
    expect(strip.locator("[aria-live]")).to_have_text(re.compile(r"^step \d+, "))
    page.keyboard.press("ArrowRight")
    expect(strip.locator(".tip")).to_be_visible()
    assert seen.complaints == []


def test_hostile_modules_are_text_in_the_tree(visit, rich_run, tmp_path):
    facts = rich_run.known["main"]
    modules = (*facts.modules, Module(HOSTILE, HOSTILE))
    rich_run.known["main"] = type(facts)(modules=modules, parameters=facts.parameters)
    seen = visit(390, 800)
    page = seen.open(write_report(rich_run, [], tmp_path / "r.html"))
    # The dot in it parts the name, as it does in any other.
    expect(page.get_by_role("tree")).to_contain_text("</script><img src=x")
    assert page.locator("img").count() == 0
    assert sideways(page) <= 390
    assert seen.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_of_it_fits_a_phone(visit, rich_page, scheme):
    seen = visit(390, 844, has_touch=True, is_mobile=True, color_scheme=scheme)
    page = seen.open(rich_page)
    for name in ("contributions", "histogram", "landscape", "spectra", "batches"):
        expect(view(page, name)).to_be_visible()
    assert sideways(page) <= 390
    assert seen.complaints == []


def test_paper_gets_all_of_it_at_its_own_width(visit, rich_page):
    page = visit(color_scheme="dark").open(rich_page)
    wide = view(page, "spectra").locator("canvas").bounding_box()["width"]
    page.emulate_media(media="print")
    expect(
        view(page, "landscape").get_by_role("button", name="Put back")
    ).to_be_hidden()
    expect(view(page, "landscape").locator(".surface canvas")).to_be_visible()
    narrow = view(page, "spectra").locator("canvas")
    expect(narrow).to_have_css("width", re.compile(r"^6\d\dpx$"))
    assert wide > 1000
