"""`python -m benchmarks.blocks [--quick] [--only NAME]`: tables go out.

Numbers are printed beside what was aimed at; one that falls short is no failure.
"""

from __future__ import annotations

import argparse
import platform

import torch

from benchmarks.blocks import (
    clipping,
    continual,
    detection,
    norm,
    projection,
    recurrence,
    schedules,
)
from benchmarks.blocks.measure import Measure, Result, result
from benchmarks.tables import table

FAMILIES: tuple[tuple[str, tuple[Measure, ...]], ...] = (
    ("Continual", continual.MEASURES),
    ("Projection", projection.MEASURES),
    ("Clipping", clipping.MEASURES),
    ("Normalisation", norm.MEASURES),
    ("Recurrence", recurrence.MEASURES),
    ("Schedules", schedules.MEASURES),
    ("Detection", detection.MEASURES),
)
"""What is measured, by family; a file of this folder each."""


def main() -> None:
    """Measure what is asked for, and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.blocks")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--only", default="", help="families whose name holds this")
    told = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rounds = 15 if told.quick else 101
    print(f"torch {torch.__version__}, {platform.machine()}, one thread")
    for family, measures in FAMILIES:
        if told.only in family:
            rows = [_row(result(measure, rounds=rounds)) for measure in measures]
            print(table(family, HEAD, rows))


HEAD = ("what", "beside", "ms", "its ms", "ratio", "quartiles", "target", "met")


def _row(found: Result) -> tuple[str, ...]:
    measure = found.measure
    unit = "" if measure.peer else " ms"
    return (
        measure.name,
        measure.peer_name,
        f"{found.ours_ms:.3g}",
        f"{found.peer_ms:.3g}" if measure.peer else "-",
        f"{found.ratio:.3g}{unit}",
        f"{found.low:.3g} to {found.high:.3g}",
        f"{measure.target:g}{unit}",
        "yes" if found.met else "NO",
    )


if __name__ == "__main__":
    main()
