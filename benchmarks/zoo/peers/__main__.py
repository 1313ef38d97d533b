"""`python -m benchmarks.zoo.peers`: nothing comes in, the table of all tools goes out.

Runs in the environment that `make zoo` makes for it. Tools that are not installed
are named with the reason.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.peers import missing, unversioned
from benchmarks.zoo.peers import catalogue, cost, kept, runs, score
from benchmarks.zoo.peers.alarm import Peer
from benchmarks.zoo.peers.run import Attempt
from surefoot.zoo.scenario import Scenario

COSTED = ("mlp-1", "conv-1", "gpt-1")
"""Healthy runs on which the cost of a step is measured."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.zoo.peers", None, __doc__)
    parser.add_argument("--peer", default="*", help="tools by name, as a pattern")
    parser.add_argument("--folder", type=Path, help="what is kept, to go on from")
    parser.add_argument("--jobs", type=int, default=2, help="processes at once")
    parser.add_argument("--every", type=int, default=1, help="each n-th run only")
    parser.add_argument("--json", type=Path, help="where all numbers are kept")
    chosen = parser.parse_args(arguments)
    start = time.monotonic()
    absent = missing()
    peers = [one for one in catalogue.ALL if fnmatch(one.name, chosen.peer)]
    here = [one for one in peers if unversioned(one.needs) not in absent]
    with TemporaryDirectory() as place:
        folder = chosen.folder or Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        harmful = kept.harmful(runs.faulty(), folder / "harm.json", chosen.jobs)
        some = (*runs.healthy()[:: chosen.every], *runs.faulty()[:: chosen.every])
        # Run by run, so that what was broken off compares all tools on the same runs.
        pairs = [(one, run) for run in some for one in here]
        done = _attempts(pairs, folder / "attempts.jsonl", chosen.jobs)
    costs = {one.name: _costs(one) for one in here}
    rows = [score.row(one, done, harmful, costs[one.name]) for one in here]
    rows += score.stacks(done, harmful)
    unseen = {
        one.name: absent[unversioned(one.needs)] for one in peers if one not in here
    }
    print(score.printed(rows, unseen))
    print(f"\n{len(done)} runs, {(time.monotonic() - start) / 60:.0f} minutes")
    if chosen.json:
        body = json.dumps(score.as_json(rows, done) | {"harmful": harmful}, indent=1)
        chosen.json.write_text(body, encoding="utf-8")


def _attempts(
    pairs: Sequence[tuple[Peer, Scenario]], path: Path, jobs: int
) -> list[Attempt]:
    found: list[Attempt] = []
    for one in kept.made(pairs, path, jobs):
        found.append(one)
        if len(found) % 50 == 0:
            print(f"{len(found)} of {len(pairs)}: {one.peer}", file=sys.stderr)
    return found


def _costs(peer: Peer) -> list[float]:
    """Ratios on the runs where the tool did not crash; nothing if it watches none."""
    if peer.when == "before":
        return []
    healthy = {one.name: one for one in runs.healthy()}
    found = [cost.ratio(peer, healthy[name]) for name in COSTED]
    return [one for one in found if one is not None]


if __name__ == "__main__":
    main()
