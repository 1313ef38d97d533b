"""What tests of several folders share: one Chromium a process, and pages in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from browsing import chromium_started, visits

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One for all tests of a process: two drivers of it cannot live side by side."""
    with chromium_started() as browser:
        yield browser


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Any]:
    """A function `(width, height, **options)` to a `Visit`."""
    with visits(chromium) as made:
        yield made
