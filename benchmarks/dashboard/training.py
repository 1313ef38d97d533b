"""What a training process feels of an open dashboard: nothing in, two rows out.

Two processes train the same network under watch, in turns; a page is open all the
time on the record of one of them.
"""

from __future__ import annotations

import random
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote

from playwright.sync_api import Browser

from benchmarks.dashboard.browser import Tab
from benchmarks.dashboard.pictures import LOSS
from benchmarks.dashboard.served import Server
from benchmarks.overhead import Worker

WORKLOAD, VARIANT = "cnn", "surefoot-quick"
FIRST_STEPS = 60

Blocks = list[dict[str, Any]]


def watched(
    browser: Browser, folder: Path, *, rounds: int, block: int
) -> tuple[Blocks, Blocks]:
    """Costs of blocks of steps, without and with a page that shows the run."""
    workers: list[Worker] = []
    for name in ("alone", "shown"):
        (folder / name).mkdir()
        workers.append(Worker(WORKLOAD, VARIANT, folder / name))
        workers[-1].steps(FIRST_STEPS)
    own = folder / "shown" / f"{WORKLOAD}-{VARIANT}"
    (record,) = own.glob("*.surefoot")
    alone: Blocks = []
    shown: Blocks = []
    order = random.Random(0)
    with Server(own) as server:
        tab = Tab(browser)
        tab.opened(f"{server.address}#/run/{quote(record.stem)}", LOSS)
        for _ in range(rounds):
            turns = [(workers[0], alone), (workers[1], shown)]
            order.shuffle(turns)
            for worker, blocks in turns:
                blocks.append(worker.steps(block))
        tab.close()
    for worker in workers:
        worker.close()
    return alone, shown


def per_step(blocks: Blocks, what: str) -> float:
    """Median over blocks of seconds a step."""
    return median(one[what] / one["steps"] for one in blocks)


def ratio(shown: Blocks, alone: Blocks, what: str) -> float:
    """Median over rounds of a cost with the page over that without."""
    return median(
        one[what] / other[what] for one, other in zip(shown, alone, strict=True)
    )
