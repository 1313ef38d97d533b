"""Dashboard and report in pictures: nothing comes in, PNGs in docs/images/ go out.

    python tools/screenshots.py     # or: make screenshots

Trains the examples under watch, tries a remedy, serves the records, and looks at the
main views in a headless Chromium: light, dark, on a phone and on paper.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image
from playwright.sync_api import Page, expect

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT / "tests") not in sys.path:  # run as a file, it finds what tests share
    sys.path[:0] = [str(ROOT / "tests")]

from browsing import chromium_started, view, visits  # noqa: E402
from dashboards import Dashboard  # noqa: E402
from surefoot.record.folder import DEFAULT_FOLDER  # noqa: E402

IMAGES = ROOT / "docs" / "images"
DESK = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844, "has_touch": True, "is_mobile": True}

LOWER_RATE = '[{"knob": "lr", "op": "scale", "amount": 0.5}]'
RUNS: tuple[tuple[str, ...], ...] = (
    ("examples/nan_in_module.py",),
    ("--changes", LOWER_RATE, "examples/loss_spike.py"),
    ("--autopilot", "steer", "examples/loss_spike.py"),
    ("examples/loss_spike.py",),
    ("examples/deep_plain_net.py", "--depth", "2"),
    ("examples/deep_plain_net.py",),
)
"""What is trained, the one that is looked at most last."""

LONG = ("examples/deep_plain_net.py", "--depth", "2", "--steps", "1000000")


EDGE = ROOT / "examples" / "edge_of_stability.py"
"""It watches itself, to measure curvature; and it has checkpoints for a landscape."""

SEEDS = ("--metric", "held-out accuracy", "--seeds", "4")

SILENT: Mapping[str, Any] = {"stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}


def main() -> None:
    """Take all pictures."""
    IMAGES.mkdir(exist_ok=True)
    with TemporaryDirectory() as name:
        place = Path(name)
        for arguments in RUNS:
            # The scripts that end with an error are meant to.
            _surefoot(place, "run", *arguments)
        tried = (*SEEDS, "--report", "report.html", str(ROOT / RUNS[-1][0]))
        _surefoot(place, "try", *tried, "--", "--seed", "{seed}")
        edge = place / "edge"
        edge.mkdir()
        subprocess.run([sys.executable, EDGE], cwd=edge, check=True, **SILENT)
        _surefoot(edge, "landscape", "last", "--script", str(EDGE))
        _surefoot(edge, "report", "last")
        with subprocess.Popen(_command("run", *LONG), cwd=place, **SILENT) as training:
            try:
                _take_all(place)
            finally:
                training.kill()


def _surefoot(place: Path, *words: str) -> None:
    subprocess.run(_command(*words), cwd=place, check=False, **SILENT)


def _command(*words: str) -> list[str]:
    """A command whose scripts are found from any folder."""
    told = [str(ROOT / one) if one.startswith("examples/") else one for one in words]
    return [sys.executable, "-m", "surefoot", *told]


def _take_all(place: Path) -> None:
    folder = place / DEFAULT_FOLDER
    ended = sorted(folder.glob("*.surefoot"), key=lambda one: one.stat().st_mtime)
    with (
        Dashboard(folder) as server,
        chromium_started() as browser,
        visits(browser) as visit,
    ):

        def shot(
            name: str,
            address: str,
            ready: Callable[[Page], None],
            *,
            paper: bool = False,
            **options: Any,
        ) -> None:
            page = visit(**options).open(address)
            ready(page)
            if paper:
                page.emulate_media(media="print")
            page.mouse.move(1, 1)
            page.wait_for_timeout(800)  # fonts, and what draws itself in turn
            _save(page.screenshot(), name)

        sick = server.of(ended[-1].stem if ended else "")
        running = _running(server, visit)
        shot("dashboard-list", server.address, _listed, **DESK)
        shot("dashboard-run", sick, _judged, width=1280, height=1560)
        dark = {"width": 1280, "height": 1560, "color_scheme": "dark"}
        shot("dashboard-run-dark", sick, _judged, **dark)
        shot("dashboard-run-phone", sick, _judged, **PHONE)
        shot("dashboard-live", server.of(running), _drawn, width=1280, height=1000)
        names = [one.stem for one in ended]
        shot("dashboard-compare", server.comparison(*names), _compared, **DESK)
        shot("report-on-paper", sick, _judged, paper=True, width=794, height=1123)
        report = (place / "report.html").as_uri()
        shot("report", report, _judged, width=1240, height=1390)
        shot("report-layers", report, _at_charts, width=1240, height=1040)
        edge = (place / "edge" / "report.html").as_uri()
        shot("sharpness", edge, _at("tracked"), width=1240, height=190)
        shot("landscape", edge, _at("landscape"), width=1240, height=660)
        flown = [one.stem for one in ended if "loss_spike" in one.stem][-2]
        shot(
            "dashboard-done", server.of(flown), _shown("deeds"), width=1280, height=660
        )
        spiky = [one.stem for one in ended if "loss_spike" in one.stem][-1]
        shot("dashboard-spike", server.of(spiky), _at_charts, width=1280, height=860)


def _running(server: Dashboard, visit: Any) -> str:
    """The name of the run that goes on, once it has got somewhere."""
    page = visit().open(server.address)
    row = view(page, "runs").locator("tbody tr").filter(has_text="still running")
    expect(row).to_be_visible(timeout=60_000)
    page.wait_for_function(
        "() => Number(document.querySelector('tr:has(.alive) [data-label=Steps]')"
        "?.textContent.replace(/,/g, '')) > 3000",
        timeout=120_000,
    )
    return row.get_by_role("link").inner_text()


def _listed(page: Page) -> None:
    expect(view(page, "runs")).to_be_visible()
    for waiting in ("being examined", "not looked at yet"):
        expect(view(page, "runs")).not_to_contain_text(waiting, timeout=60_000)


def _judged(page: Page) -> None:
    _drawn(page)
    expect(view(page, "verdict").locator("h2").first).to_contain_text("since step")


def _drawn(page: Page) -> None:
    expect(view(page, "heatmap").locator("canvas").first).to_be_visible()


def _at_charts(page: Page) -> None:
    _drawn(page)
    page.locator("#linked").evaluate("section => section.scrollIntoView()")


def _at(name: str) -> Callable[[Page], None]:
    """At one view of a page, once it is drawn."""

    def ready(page: Page) -> None:
        expect(view(page, name).locator("canvas").first).to_be_visible()
        view(page, name).evaluate("section => section.scrollIntoView()")

    return ready


def _shown(name: str) -> Callable[[Page], None]:
    """At one view of a page that is text."""

    def ready(page: Page) -> None:
        _drawn(page)
        view(page, name).evaluate("section => section.scrollIntoView()")

    return ready


def _compared(page: Page) -> None:
    expect(view(page, "comparison").locator("canvas").first).to_be_visible()


def _save(png: bytes, name: str) -> None:
    # Not with fewer colours: those of the map are what one reads.
    Image.open(BytesIO(png)).convert("RGB").save(IMAGES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
