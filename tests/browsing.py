"""Pages in a real Chromium: an address comes in, what a person would see goes out."""

from __future__ import annotations

import base64
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

TOOL = Path(__file__).resolve().parents[1] / "tools" / "browser.py"

PATIENCE_MS = 20_000
"""How long a page is waited for; nothing waits longer than it must."""


@contextmanager
def chromium_started() -> Iterator[Browser]:
    """The Chromium that tools/browser.py finds, until the block ends."""
    spec = importlib.util.spec_from_file_location("surefoot_browser", TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    with sync_playwright() as playwright:
        # Five seconds, the usual patience, are too few on two busy cores.
        expect.set_options(timeout=PATIENCE_MS)
        browser = playwright.chromium.launch(
            executable_path=tool.browser(), args=list(tool.FLAGS)
        )
        yield browser
        browser.close()


class Visit:
    """A page that was opened, with all that it asked for and complained about."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.dialogs: list[str] = []
        page.on("request", lambda one: self.requests.append(one.url))
        page.on("console", lambda one: self.complaints.append(_told(one)))
        page.on("pageerror", lambda one: self.complaints.append(str(one)))
        page.on("dialog", self._closed)

    def open(self, place: Path | str) -> Page:
        self.page.goto(place if isinstance(place, str) else place.as_uri())
        return self.page

    def _closed(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()


def _told(message: Any) -> str:
    return f"{message.text} ({message.location['url'][:300]})"


@contextmanager
def visits(browser: Browser) -> Iterator[Any]:
    """Makes pages, each with cookies and a size of its own; closed after the block."""
    contexts = []

    def made(width: int = 1280, height: int = 900, **options: Any) -> Visit:
        size = {"width": width, "height": height}
        contexts.append(browser.new_context(viewport=size, **options))
        return Visit(contexts[-1].new_page())

    yield made
    for context in contexts:
        context.close()


def view(page: Page, name: str) -> Locator:
    """A part of the page, by the name that its source gives it."""
    return page.locator(f'[data-view="{name}"]')


_PIXELS = """canvas => {
  const {width, height} = canvas;
  const {data} = canvas.getContext("2d").getImageData(0, 0, width, height);
  const parts = [];
  for (let at = 0; at < data.length; at += 32768)
    parts.push(String.fromCharCode(...data.subarray(at, at + 32768)));
  return [width, height, btoa(parts.join(""))];
}"""


def pixels(canvas: Locator) -> np.ndarray:
    """RGBA of a canvas, shape `[height, width, 4]`."""
    width, height, data = canvas.evaluate(_PIXELS)
    return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)


def sideways(page: Page) -> int:
    """How wide the page is, in pixels: beyond the screen it scrolls sideways."""
    return page.evaluate("document.documentElement.scrollWidth")
