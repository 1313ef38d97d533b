"""A page in headless Chromium: an address comes in, main-thread CPU time goes out."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

TOOL = Path(__file__).resolve().parents[2] / "tools" / "browser.py"
SIZE = {"width": 1280, "height": 900}

_LOOK = """(() => {
  const look = () => {
    const there = %s.every(one => (document.querySelector(one)?.width ?? 0) > 300);
    const note = () => { window.pictured = performance.now(); };
    requestAnimationFrame(there ? note : look);
  };
  requestAnimationFrame(look);
})()"""
"""A canvas is 300 pixels wide until something is drawn on it."""


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds of the page's main thread, and seconds on the wall."""

    cpu: float
    wall: float


@contextmanager
def chromium() -> Generator[Browser]:
    """The browser that the tests use too."""
    spec = importlib.util.spec_from_file_location("surefoot_browser", TOOL)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{TOOL} is missing; use a whole checkout")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=tool.browser(), args=list(tool.FLAGS)
        )
        yield found
        found.close()


class Tab:
    """One page and the clock of its main thread."""

    def __init__(self, browser: Browser) -> None:
        context = browser.new_context(viewport=SIZE)
        self.page: Page = context.new_page()
        self._close = context.close
        self._devtools = context.new_cdp_session(self.page)
        # Thread ticks: what other processes take of the core does not count.
        self._devtools.send("Performance.enable", {"timeDomain": "threadTicks"})

    def busy(self) -> float:
        """CPU seconds of the main thread since the page's process began."""
        told = self._devtools.send("Performance.getMetrics")["metrics"]
        return next(one["value"] for one in told if one["name"] == "TaskDuration")

    def opened(self, address: str, *canvases: str) -> Cost:
        """What it costs until all these canvases are drawn."""
        self.page.add_init_script(_LOOK % json.dumps(canvases))
        before = self.busy()
        self.page.goto(address, wait_until="commit")
        self.page.wait_for_function("() => window.pictured", timeout=120_000)
        cpu = self.busy() - before
        return Cost(cpu, self.page.evaluate("window.pictured") / 1e3)

    def tasks(self, seconds: float) -> list[tuple[float, float]]:
        """Start and CPU time of each task of the page's main thread, in ms.

        Of the next `seconds`; the browser's own trace tells them.
        """
        events: list[dict[str, Any]] = []
        self._devtools.on(
            "Tracing.dataCollected", lambda one: events.extend(one["value"])
        )
        self._devtools.send(
            "Tracing.start",
            {
                "traceConfig": {
                    "includedCategories": [
                        "toplevel",
                        "disabled-by-default-devtools.timeline",
                    ]
                }
            },
        )
        self.page.wait_for_timeout(1e3 * seconds)
        done: list[bool] = []
        self._devtools.on("Tracing.tracingComplete", lambda _: done.append(True))
        self._devtools.send("Tracing.end")
        while not done:
            self.page.wait_for_timeout(50)
        return main_thread_tasks(events)

    def close(self) -> None:
        """Close the page."""
        self._close()


def main_thread_tasks(events: list[dict[str, Any]]) -> list[tuple[float, float]]:
    """Start and CPU time in ms of tasks of the busiest page's main thread."""
    mains = {
        (one["pid"], one["tid"])
        for one in events
        if one["name"] == "thread_name" and one["args"].get("name") == "CrRendererMain"
    }
    found: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for one in events:
        where = (one.get("pid"), one.get("tid"))
        if one.get("ph") == "X" and one["name"] in _TASKS and where in mains:
            found.setdefault(where, []).append(
                (one["ts"] / 1e3, one.get("tdur", one.get("dur", 0)) / 1e3)
            )
    busiest = max(
        found.values(), key=lambda own: sum(cpu for _, cpu in own), default=[]
    )
    return sorted(busiest)


_TASKS = ("RunTask", "ThreadControllerImpl::RunTask")
