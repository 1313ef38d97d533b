"""`python -m benchmarks.blackbox [--quick]`: nothing comes in, tables go out.

The share of a step that the black box takes, on the workloads of `benchmarks` and on a
network with large states; then the seconds that an incident of a large model takes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch

from benchmarks import overhead
from benchmarks.blackbox import incidents, large
from benchmarks.variants import BARE


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.blackbox")
    parser.add_argument("--quick", action="store_true", help="small, one round")
    quick: bool = parser.parse_args(arguments).quick
    torch.set_num_threads(1)
    for workload, (rounds, block) in (QUICK if quick else FULL).items():
        names = (BARE, "black-box")
        costs = overhead.measure(workload, names, rounds=rounds, block=block)
        print(overhead.report(costs), flush=True)
    print(large.report(steps=60 if quick else 200), flush=True)
    print(incidents.report(10**6 if quick else 10**8), flush=True)


QUICK = {"cnn": (1, 20)}
FULL = {"cnn": (3, 40), "gpt": (2, 10)}

if __name__ == "__main__":
    main()
