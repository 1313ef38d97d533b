"""`python -m benchmarks [--quick]`: nothing comes in, tables go to the terminal.

Numbers are printed beside what was aimed at; a number that falls short is no failure,
since it depends on the machine. Only a crash is.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Sequence

import torch

from benchmarks import diagnosis, overhead, storage, variants
from benchmarks.variants import BARE


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="Surefoot alone, fewer")
    quick: bool = parser.parse_args(arguments).quick
    print(
        f"{os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}, torch {torch.__version__}"
    )
    print(storage.report(2_000 if quick else 10_000), flush=True)
    print(diagnosis.report(), flush=True)
    for workload, (names, rounds, block) in (QUICK if quick else FULL).items():
        costs = overhead.measure(workload, names, rounds=rounds, block=block)
        print(overhead.report(costs), flush=True)


QUICK = {
    "cnn": ((BARE, "surefoot-quick", "surefoot-fixed"), 4, 20),
    "gpt": ((BARE, "surefoot-quick"), 2, 10),
}
_ELSEWHERE = ("surefoot-quick", "black-box", "surefoot-guard", "surefoot-steer")
_ROWS = tuple(name for name in variants.ALL if name not in _ELSEWHERE)
FULL = {"cnn": (_ROWS, 12, 20), "gpt": (_ROWS, 12, 10)}
"""Rows, rounds, and steps a block, of each workload."""


if __name__ == "__main__":
    main()
