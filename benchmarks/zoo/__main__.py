"""`python -m benchmarks.zoo [--quick]`: nothing comes in, a score goes out.

The whole zoo is four seeds of every fault in rotating homes, and as many healthy
runs; `--quick` is a fixed sample of about 75 runs.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from surefoot.zoo import table
from surefoot.zoo.recording import record_all
from surefoot.zoo.scenario import Scenario, quick, scenarios, with_twins
from surefoot.zoo.scoring import Score, rows, score

SEEDS = (0, 1, 2, 3)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.zoo", None, __doc__)
    parser.add_argument("--quick", action="store_true", help="a sample, for CI")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--folder", type=Path, help="keep the records here")
    parser.add_argument("--jobs", type=int, default=2, help="processes at once")
    parser.add_argument("--json", type=Path, help="where all numbers are kept")
    chosen = parser.parse_args(arguments)
    start = time.monotonic()
    runs = quick() if chosen.quick else scenarios(chosen.seeds)
    with TemporaryDirectory() as place:
        halves = scores(runs, chosen.folder or Path(place), chosen.jobs)
    print(shown(halves, details=not chosen.quick))
    print(f"\n{len(runs)} runs, {(time.monotonic() - start) / 60:.1f} minutes")
    if chosen.json:
        body = {name: asdict(one) for name, one in halves.items()}
        chosen.json.write_text(json.dumps(body, indent=1), encoding="utf-8")


def scores(runs: list[Scenario], folder: Path, jobs: int) -> dict[str, Score]:
    """The two halves, or what there is of them."""
    for line in record_all(with_twins(runs), folder, jobs=jobs, tell=_tell):
        print(f"ended by an error: {line}")
    found = rows(runs, folder, jobs=jobs)
    halves = {
        part: [row for row in found if row.label.scenario.part == part]
        for part in ("tuning", "reporting")
    }
    return {part: score(own) for part, own in halves.items() if own}


def shown(halves: dict[str, Score], *, details: bool) -> str:
    """The tables, and every miss by its name."""
    parts = [table.table(halves)]
    if details:
        parts.append(table.classes(halves))
    parts += [table.details(name, one) for name, one in halves.items()]
    return "\n\n".join(parts)


def _tell(done: int, total: int, name: str) -> None:
    if done % 50 == 0:
        print(f"{done} of {total}: {name}", file=sys.stderr)


if __name__ == "__main__":
    main()
