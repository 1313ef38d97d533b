"""`python -m benchmarks.dashboard [--quick]`: nothing comes in, tables go out.

Records are written to a temporary folder: 1.4 GB of them, 40 MB with `--quick`.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser

from benchmarks.dashboard import answers, peer, pictures, training
from benchmarks.dashboard.browser import Cost, chromium
from benchmarks.dashboard.records import big_record
from benchmarks.dashboard.served import Server
from benchmarks.tables import measured, table

OPEN_SECONDS, COMPARE_SECONDS = 1.5, 2.0
MAP_MS, APPEND_MS, QUERY_MS, MEMORY_MB = 50, 16, 5, 200


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    steps: int
    layers: int
    opened: int
    rounds: int
    block: int
    peer: tuple[int, int]


QUICK = Size(100_000, 50, opened=2, rounds=3, block=10, peer=(2_000, 20))
FULL = Size(1_000_000, 200, opened=5, rounds=12, block=20, peer=(20_000, 50))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all, each part on records of its own."""
    parser = argparse.ArgumentParser("python -m benchmarks.dashboard", None, __doc__)
    parser.add_argument("--quick", action="store_true", help="smaller, for CI")
    parser.add_argument("--only", choices=[one.__name__ for one in PARTS])
    chosen = parser.parse_args(arguments)
    size = QUICK if chosen.quick else FULL
    with chromium() as browser:
        print(
            f"{os.cpu_count()} cores, {platform.machine()}, Python "
            f"{platform.python_version()}, Chromium {browser.version}"
        )
        for part in PARTS:
            if chosen.only in (None, part.__name__):
                with TemporaryDirectory() as folder:
                    print(part(browser, Path(folder), size), flush=True)


def one_run(browser: Browser, folder: Path, size: Size) -> str:
    """A long run: what opening its page costs, and each question about it."""
    big_record(folder / "big.surefoot", size.steps, size.layers)
    with Server(folder) as server:
        waited = server.examined("big")
        before = server.cpu_seconds()
        opened = [pictures.opening(browser, server, "big") for _ in range(size.opened)]
        served = (server.cpu_seconds() - before) / size.opened
        costs = answers.costs(server, "big", size.steps, size.layers)
        memory = server.memory_mb()
    what = f"{size.steps:,} steps x {size.layers} layers"
    rows = [[name, f"{cost:.1f}"] for name, cost in costs.items()]
    asked = {name: cost for name, cost in costs.items() if name != "page of a run"}
    slowest = max(asked, key=lambda name: asked[name])
    return "\n".join(
        [
            table(f"Server: {what}", ("question", "CPU of the server, ms"), rows),
            "",
            f"Slowest ({slowest}): {measured(asked[slowest], QUERY_MS, 'ms')}",
            f"Page of a run: {measured(costs['page of a run'], QUERY_MS, 'ms')}",
            f"Memory of the server: {measured(memory, MEMORY_MB, 'MB')}",
            f"Verdict of a record without one, in the background: {waited:.1f} s",
            f"First picture: {_told(opened, served, OPEN_SECONDS)}",
        ]
    )


def many_runs(browser: Browser, folder: Path, size: Size) -> str:
    """A hundred runs side by side."""
    names = pictures.many_runs(folder)
    with Server(folder) as server:
        first = 1e3 * server.cpu_of(lambda: server.get("/api/runs"), 1)
        again = 1e3 * server.cpu_of(lambda: server.get("/api/runs"), 5)
        for name in names:
            server.examined(name)
        before = server.cpu_seconds()
        compared = [
            pictures.comparing(browser, server, names) for _ in range(size.opened)
        ]
        served = (server.cpu_seconds() - before) / size.opened
    return "\n".join(
        [
            "",
            f"### {len(names)} runs",
            "",
            f"Listed: {first:.0f} ms of CPU the first time, {again:.1f} ms again",
            f"Compared: {_told(compared, served, COMPARE_SECONDS)}",
        ]
    )


def drawing(browser: Browser, folder: Path, size: Size) -> str:
    """The map, whole and zoomed, and a run that grows."""
    drawn, zoomed = pictures.map_drawn(browser, pictures.map_page(folder))
    usual, worst, share = pictures.appending(browser, folder)
    what = f"{pictures.MAP_LAYERS} x {pictures.MAP_STEPS:,}"
    return "\n".join(
        [
            "",
            "### Drawing",
            "",
            f"Map of {what}: {measured(1e3 * drawn, MAP_MS, 'ms')}",
            f"All charts zoomed by a key: {1e3 * zoomed:.1f} ms of CPU",
            f"A run of {pictures.MAP_LAYERS} layers and 20,000 steps that grows by "
            f"{pictures.PER_SECOND} a second, longest task of an update: "
            f"{measured(usual, APPEND_MS, 'ms')} (worst {worst:.1f} ms), "
            f"{share:.1f} % of a core in all",
        ]
    )


def felt(browser: Browser, folder: Path, size: Size) -> str:
    """A training with and without a page open on it."""
    alone, shown = training.watched(
        browser, folder, rounds=size.rounds, block=size.block
    )
    rows = [
        [
            name,
            f"{1e6 * training.per_step(blocks, 'own'):,.0f}",
            f"{1e3 * training.per_step(blocks, 'thread'):.1f}",
            f"{1e3 * training.per_step(blocks, 'wall'):.1f}",
        ]
        for name, blocks in (("no page", alone), ("a page open", shown))
    ]
    head = (
        "CNN under watch",
        "CPU inside Surefoot, µs a step",
        "CPU of the training thread, ms a step",
        "wall, ms a step",
    )
    ratios = {
        what: training.ratio(shown, alone, what) for what in ("own", "thread", "wall")
    }
    return "\n".join(
        [
            table("What a training feels of an open page", head, rows),
            "",
            "With a page over without, medians over rounds: "
            + ", ".join(f"{name} {value:.3f}" for name, value in ratios.items()),
        ]
    )


def beside(browser: Browser, folder: Path, size: Size) -> str:
    """TensorBoard on the same numbers."""
    if not peer.available():
        return "\nTensorBoard is not installed, and was not measured"
    own, other = peer.compare(*size.peer)
    rows = [
        [name, f"{one.wall:.2f}", f"{one.cpu:.2f}", f"{one.memory:.0f}"]
        for name, one in (("Surefoot", own), ("TensorBoard", other))
    ]
    ratios = [other.wall / own.wall, other.cpu / own.cpu, other.memory / own.memory]
    rows.append(["ratio", *[f"{one:.1f}" for one in ratios]])
    head = ("server", "s until it answers", "CPU s until then", "memory, MB")
    steps, layers = size.peer
    what = f"Started on {steps:,} steps x {layers} layers, answering for a whole run"
    return table(what, head, rows)


def _told(costs: Sequence[Cost], served: float, target: float) -> str:
    """CPU beside its target, and what the wall clock said."""
    page = median(one.cpu for one in costs)
    walls = ", ".join(f"{one.wall:.2f}" for one in costs)
    return (
        f"{measured(page + served, target, 's')} ({page:.2f} s of CPU on the page's "
        f"main thread, {served:.2f} s on the server; on the wall {walls} s)"
    )


Part = Callable[[Browser, Path, Size], str]
PARTS: tuple[Part, ...] = (one_run, many_runs, drawing, felt, beside)


if __name__ == "__main__":
    main()
