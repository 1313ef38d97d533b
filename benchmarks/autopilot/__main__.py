"""`python -m benchmarks.autopilot [--quick]`: nothing comes in, tables go out.

The whole table is about 3,200 runs, forty minutes on two free cores. Results are kept
in a file while it grows, so a bench that was ended goes on where it was. `--quick` is
a few runs of two tasks and some healthy ones, and fails where ours diverges, is worse
than plain training, or touches a healthy run.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.autopilot import healthy, quick, tasks
from benchmarks.autopilot.report import report
from benchmarks.autopilot.rows import ALL, OURS
from benchmarks.autopilot.running import forget, jobs, read, run_all

RESULTS = Path(__file__).parent / "results.jsonl"
SEEDS = (0, 1, 2)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.autopilot", None, __doc__)
    parser.add_argument("--quick", action="store_true", help="a sample, for CI")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--tasks", default="", help="those whose name holds this")
    parser.add_argument("--methods", nargs="+", help="those with these names")
    parser.add_argument("--again", nargs="+", default=(), help="forget these first")
    parser.add_argument("--table", action="store_true", help="show what there is")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--jobs", type=int, default=2, help="processes at once")
    told = parser.parse_args(arguments)
    print(f"torch {torch.__version__}, one thread a run")
    if told.quick:
        return quick.main(told.jobs)
    if told.again:
        forget(told.results, told.again)
    some = [task for task in tasks.ALL if told.tasks in task.name]
    ours = [row.name for row in OURS]
    if told.table:
        print(report(list(read(told.results).values()), some, ours))
        return 0
    start = time.monotonic()
    rows = [row for row in ALL if not told.methods or row.name in told.methods]
    run_all(jobs(some, rows, told.seeds), told.results, processes=told.jobs)
    print(report(list(read(told.results).values()), some, ours))
    if not told.methods and not told.tasks:
        print(healthy.report(healthy.scenarios(healthy.SEEDS), told.jobs))
    print(f"\n{(time.monotonic() - start) / 60:.0f} minutes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
