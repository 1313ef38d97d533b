"""`python -m benchmarks.autopilot.cost`: nothing comes in, what it costs goes out.

Each model is trained bare, watched, guarded and steered, in processes of their own
that take turns; costs are CPU time of the training thread inside hooks, as a share of
a bare step. What watching alone costs is part of what the autopilot does.
"""

from __future__ import annotations

import argparse

from benchmarks import overhead
from benchmarks.variants import BARE

ROWS = (BARE, "control", "surefoot", "surefoot-guard", "surefoot-steer")
WORKLOADS = ("cnn", "deep", "gpt")


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.autopilot.cost")
    parser.add_argument("--only", nargs="+", default=WORKLOADS)
    parser.add_argument("--rows", nargs="+", default=ROWS[1:], help="beside bare")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--block", type=int, default=20, help="steps in turn")
    told = parser.parse_args()
    for name in told.only:
        rows = (BARE, *told.rows)
        costs = overhead.measure(name, rows, rounds=told.rounds, block=told.block)
        print(overhead.report(costs), flush=True)


if __name__ == "__main__":
    main()
