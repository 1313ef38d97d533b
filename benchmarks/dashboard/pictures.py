"""What a person waits for: records come in, times of pictures go out."""

from __future__ import annotations

import threading
from pathlib import Path
from statistics import median
from urllib.parse import quote

import numpy as np
from playwright.sync_api import Browser

from benchmarks.dashboard.browser import Cost, Tab
from benchmarks.dashboard.records import big_record
from benchmarks.dashboard.served import Server
from surefoot.record.reader import RecordReader
from surefoot.record.writer import RecordWriter
from surefoot.report.contents import Carried, contents
from surefoot.report.page import page
from surefoot.types import Event, Series

LOSS = '[data-view="loss"] canvas'
MAP = '[data-view="heatmap"] canvas'
COMPARED = '[data-view="comparison"] canvas'

MAP_STEPS, MAP_LAYERS = 5_000, 200
RUNS, RUN_STEPS = 100, 5_000
PER_SECOND = 50

_TIMED = """() => {
  window.drawn = [];
  const own = CanvasRenderingContext2D.prototype;
  const [begin, end] = [own.createImageData, own.drawImage];
  let start = 0;
  own.createImageData = function (...rest) {
    start = performance.now();
    return begin.apply(this, rest);
  };
  own.drawImage = function (...rest) {
    const done = end.apply(this, rest);
    if (start) window.drawn.push(performance.now() - start);
    start = 0;
    return done;
  };
}"""
"""Times the map from the pixels that it asks for to the picture that it puts down."""


def opening(browser: Browser, server: Server, run: str) -> Cost:
    """From the address of a run to its loss and map."""
    tab = Tab(browser)
    cost = tab.opened(f"{server.address}#/run/{quote(run)}", LOSS, MAP)
    tab.close()
    return cost


def comparing(browser: Browser, server: Server, runs: list[str]) -> Cost:
    """From the address of a comparison to its lines."""
    tab = Tab(browser)
    named = "&".join(f"run={quote(one)}" for one in runs)
    cost = tab.opened(f"{server.address}#/compare?{named}&quantity=loss", COMPARED)
    tab.close()
    return cost


def many_runs(folder: Path) -> list[str]:
    """A hundred runs of a loss."""
    rng = np.random.default_rng(0)
    steps = np.arange(RUN_STEPS)
    names = [f"run-{at:03}" for at in range(RUNS)]
    for at, name in enumerate(names):
        noise = 0.05 * rng.standard_normal(RUN_STEPS)
        loss = (1 + at / RUNS) * np.exp(-steps / 2000) + 0.2 + noise
        writer = RecordWriter(folder / f"{name}.surefoot", {})
        rows = loss.astype(np.float32)[:, None]
        writer.append(Series("loss", ("run",), steps, rows))
        writer.event(Event(RUN_STEPS - 1, "end", {"status": "finished"}))
        writer.close()
    return names


def map_page(folder: Path) -> Path:
    """A report whose map has a column for each of 5,000 steps of 200 layers."""
    record = big_record(folder / "map.surefoot", MAP_STEPS, MAP_LAYERS)
    with RecordReader(record) as reader:
        data = contents(reader, [], carried=Carried(columns=MAP_STEPS, maps=1))
    out = folder / "map.html"
    out.write_text(page(data), encoding="utf-8")
    record.unlink()
    return out


def map_drawn(browser: Browser, report: Path, times: int = 12) -> tuple[float, float]:
    """Seconds to draw all of the map, and main-thread CPU of a zoomed picture."""
    tab = Tab(browser)
    tab.opened(report.as_uri(), LOSS, MAP)
    tab.page.evaluate(_TIMED)
    flip = tab.page.get_by_role("button", name="Switch to the")
    for _ in range(times):
        flip.click()
    drawn = median(tab.page.evaluate("window.drawn")) / 1e3
    box = tab.page.locator('[data-view="heatmap"] .map')
    box.focus()
    tab.page.keyboard.press("ArrowRight")
    tab.page.wait_for_timeout(300)
    zoomed = [_pressed(tab, key) for key in ("+", "+", "+", "-", "-", "-") * 2]
    tab.close()
    return drawn, median(zoomed)


def _pressed(tab: Tab, key: str) -> float:
    before = tab.busy()
    tab.page.keyboard.press(key)
    tab.page.wait_for_timeout(400)  # answers to what zooming asks for come too
    return tab.busy() - before


# --- a run that grows -------------------------------------------------------------


class Growing:
    """Writes a run of 200 layers at fifty steps a second, on a thread of its own."""

    def __init__(self, path: Path, steps: int) -> None:
        self._rng = np.random.default_rng(1)
        self._names = tuple(f"blocks.{at}.weight" for at in range(MAP_LAYERS))
        self._writer = RecordWriter(path, {})
        self._done = threading.Event()
        for first in range(0, steps, 1000):
            self._append(first, 1000)
            self._writer.flush(60)
        self._thread = threading.Thread(target=self._grow, args=(steps,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """The run ends."""
        self._done.set()
        self._thread.join()
        self._writer.close()

    def _grow(self, step: int) -> None:
        block = PER_SECOND // 2
        while not self._done.wait(block / PER_SECOND):
            self._append(step, block)
            step += block

    def _append(self, first: int, count: int) -> None:
        steps = np.arange(first, first + count)
        norms = self._rng.lognormal(size=(count, MAP_LAYERS)).astype(np.float32)
        loss = norms[:, :1] + 2
        self._writer.append(Series("loss", ("run",), steps, loss))
        self._writer.append(Series("grad_norm", self._names, steps, norms))


def appending(
    browser: Browser, folder: Path, seconds: float = 12, steps: int = 20_000
) -> tuple[float, float, float]:
    """CPU of the page's main thread while a run grows.

    The longest task of an update in ms, median and worst; and all of them as a share
    of a core, in %.
    """
    path = folder / "growing.surefoot"
    growing = Growing(path, steps)
    with Server(folder) as server:
        tab = Tab(browser)
        tab.opened(f"{server.address}#/run/growing", LOSS, MAP)
        tab.page.wait_for_timeout(3000)
        tasks = tab.tasks(seconds)
        tab.close()
    growing.stop()
    path.unlink()
    longest = [max(cpu for _, cpu in burst) for burst in bursts(tasks)]
    share = 100 * sum(cpu for _, cpu in tasks) / (1e3 * seconds)
    own = sorted(longest)[-max(int(2 * seconds), 1) :]  # two updates a second
    return median(own), own[-1], share


def bursts(
    tasks: list[tuple[float, float]], apart_ms: float = 100
) -> list[list[tuple[float, float]]]:
    """Tasks in groups with nothing between them for a while.

    >>> [len(one) for one in bursts([(0, 1), (5, 1), (500, 2)])]
    [2, 1]
    """
    found: list[list[tuple[float, float]]] = []
    last = float("-inf")
    for start, cpu in tasks:
        if start - last > apart_ms:
            found.append([])
        found[-1].append((start, cpu))
        last = start
    return found
