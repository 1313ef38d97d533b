"""What tests of several folders share: a Chromium, pages, dashboards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

import recorded
from browsing import chromium_started, visits
from dashboards import Dashboard

if TYPE_CHECKING:
    from playwright.sync_api import Browser

settings.register_profile(
    "everywhere",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("everywhere")
# The same examples on every machine, and no verdict that hangs on how busy it is.

GALLERY = ("plain", "vanishing", "spike_of_bad_input", "nan_in_module", "dead_layer")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One for the tests of a file.

    Its driver holds the thread's event loop until it ends, so that two of them, or one
    and a test with a loop of its own, cannot live side by side.
    """
    with chromium_started() as browser:
        yield browser


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Any]:
    """A function `(width, height, **options)` to a `Visit`."""
    with visits(chromium) as made:
        yield made


@pytest.fixture
def ui() -> Iterator[Callable[[Path], Dashboard]]:
    """Starts dashboards of folders; killed after the test."""
    with ExitStack() as stack:
        yield lambda folder: stack.enter_context(Dashboard(folder))


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """A dashboard of ended runs, by the names of their cases; not to be written to."""
    folder = tmp_path_factory.mktemp("gallery")
    for name in GALLERY:
        recorded.case(name, folder / f"{name}.surefoot")
    with Dashboard(folder) as made:
        yield made
