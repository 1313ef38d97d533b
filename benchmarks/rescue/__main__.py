"""`python -m benchmarks.rescue [--quick]`: nothing comes in, shares go out.

Every fault of the zoo that can be repaired, in rotating homes, and healthy runs. Rows
are kept in a file as they come: a bench that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.rescue.classes import OUT_OF_REACH, REPAIRABLE
from benchmarks.rescue.measure import Row, measured_before
from benchmarks.rescue.shown import shown
from surefoot.zoo.catalogue import HOMES
from surefoot.zoo.controls import CONTROLS
from surefoot.zoo.recording import processes
from surefoot.zoo.scenario import Scenario, scenario_named, scenarios

SEEDS = (0, 1)
CONTROLS_EVERY = 8
"""Most controls give no held-out number, and a rescue is to leave those alone."""
COST: Mapping[str, int] = {
    "mlp": 1, "tanh": 1, "plain_conv": 2, "conv": 2, "lstm": 3, "resnet": 4, "vit": 4,
    "gpt": 5, "policy": 6, "gan": 6,
}  # fmt: skip
"""Homes by what a run takes: a fault is planted in the cheapest of its seed's three."""

QUICK = (
    "rate_too_high-mlp-1-1",
    "deep_sigmoid-tanh-2-1",
    "dead_later-mlp-2-1",
    "double_softmax-mlp-2-1",
    "mlp-1",
    "tanh-1",
)
"""A fault of the rate, of the structure, of mid-run, of the code, and healthy runs."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.rescue", None, __doc__)
    parser.add_argument("--quick", action="store_true", help="a sample, for CI")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--jobs", type=int, default=2, help="processes at once")
    parser.add_argument("--minutes", type=float, default=60.0, help="begin none after")
    parser.add_argument("--rows", type=Path, help="where the rows are kept")
    parser.add_argument("--only", nargs="*", default=(), help="faults, or 'healthy'")
    chosen = parser.parse_args(arguments)
    runs = _quick() if chosen.quick else chosen_runs(chosen.seeds)
    if chosen.only:
        runs = [one for one in runs if (one.fault or "healthy") in chosen.only]
    print(shown(gathered(runs, chosen.rows, chosen.jobs, 60 * chosen.minutes)))


def _quick() -> list[Scenario]:
    return [one for name in QUICK if (one := scenario_named(name)) is not None]


def chosen_runs(seeds: Sequence[int]) -> list[Scenario]:
    """Each fault in the cheapest of its seed's homes, and healthy runs.

    Of those all homes, of a later seed of the same half too, and some of the controls.
    What decides comes first: faults in reach, then healthy runs, then the others.
    """
    found: list[Scenario] = []
    for seed in seeds:
        taken: set[str] = set()
        for one in sorted(scenarios([seed]), key=lambda one: COST.get(one.home, 0)):
            if (
                one.fault
                and one.fault not in taken
                and one.fault in {**REPAIRABLE, **OUT_OF_REACH}
            ):
                taken.add(one.fault)
                found.append(one)
        found += [
            Scenario(home, None, 0, s) for s in (seed, seed + 2) for home in HOMES
        ]
        some = list(CONTROLS)[seed % CONTROLS_EVERY :: CONTROLS_EVERY]
        found += [Scenario(control, None, 0, seed) for control in some]
    return sorted(found, key=_turn)


def _turn(one: Scenario) -> int:
    if one.fault is None:
        return 1
    return 0 if one.fault in REPAIRABLE else 2


def gathered(
    runs: Sequence[Scenario], kept: Path | None, jobs: int, seconds: float
) -> list[Row]:
    """Rows of the runs, those that are kept already among them."""
    known = {} if kept is None else {row.name: row for row in read(kept)}
    waiting = [one for one in runs if one.name not in known]
    end = time.monotonic() + seconds
    with processes(jobs) as pool:
        futures = [pool.submit(measured_before, one, end) for one in waiting]
        for future in as_completed(futures):
            row = future.result()
            if row is None:
                continue
            known[row.name] = row
            print(f"{row.name}: {row.ending}", file=sys.stderr, flush=True)
            if kept is not None:
                with kept.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(row)) + "\n")
    return [known[one.name] for one in runs if one.name in known]


def read(kept: Path) -> list[Row]:
    """The rows of a file; none if there is no such file."""
    lines = kept.read_text(encoding="utf-8").splitlines() if kept.exists() else []
    found: list[dict[str, Any]] = [json.loads(line) for line in lines]
    for one in found:
        one["changes"] = tuple(one["changes"])
    return [Row(**one) for one in found]


if __name__ == "__main__":
    main()
