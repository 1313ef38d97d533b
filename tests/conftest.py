"""What tests of several folders share: one Chromium a process, pages, dashboards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import recorded
from browsing import chromium_started, visits
from dashboards import Dashboard

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SHELF = ("plain", "vanishing", "spike_of_bad_input", "nan_in_module", "dead_layer")


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


@pytest.fixture
def dashboard() -> Iterator[Callable[[Path], Dashboard]]:
    """Starts dashboards of folders; killed after the test."""
    with ExitStack() as stack:
        yield lambda folder: stack.enter_context(Dashboard(folder))


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """A dashboard of ended runs, by the names of their cases; not to be written to."""
    folder = tmp_path_factory.mktemp("shelf")
    for name in SHELF:
        recorded.case(name, folder / f"{name}.surefoot")
    with Dashboard(folder) as made:
        yield made
