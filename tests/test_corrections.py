"""Pages on what is often told wrongly: each has numbers, a figure and a source."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from source_code import ROOT

PAGES = sorted((ROOT / "docs" / "corrections").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_shows_the_figure_that_its_code_saves(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert f"](images/{page.stem}.svg)" in text
    assert f'"{page.stem}.svg"' in text
    drawn = page.parent / "images" / f"{page.stem}.svg"
    assert drawn.stat().st_size < 120_000
    assert "<svg" in drawn.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_shows_numbers_that_are_checked(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.search(r"^```text\n[^`]*\d", text, re.MULTILINE)
    assert re.search(r"^## Source", text, re.MULTILINE)


def test_no_figure_is_without_a_page() -> None:
    drawn = {path.stem for path in (ROOT / "docs/corrections/images").glob("*.svg")}
    assert drawn == {page.stem for page in PAGES}
