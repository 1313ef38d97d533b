"""A sample for CI: nothing comes in, a table goes out, and whether it is as it must be.

Two tasks at a low, the best and a far too high learning rate, plain and steered, and
a few healthy runs in guard. What is asked of ours is only what no machine may change:
steer must not diverge, neither mode may be more sensitive than plain training, and
healthy runs are left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.autopilot import healthy
from benchmarks.autopilot.methods import NONE
from benchmarks.autopilot.report import measured, over
from benchmarks.autopilot.rows import OURS, row_named
from benchmarks.autopilot.running import jobs, run_all
from benchmarks.autopilot.tasks import task_named
from benchmarks.autopilot.training import Result

TASKS = ("CNN, SGD", "plain net of 20 layers")
RATES = (0, 3, 5)
"""Places in the grid of learning rates."""
HEALTHY = ("mlp", "conv", "edge_of_stability", "one_cycle", "tiny_batches")


def main(processes: int) -> int:
    """Run the sample; 0 if all is as it must be."""
    tasks = [task_named(name) for name in TASKS]
    rows = [row_named(NONE), *OURS]
    rates = {task.name: [task.rates[place] for place in RATES] for task in tasks}
    wanted = [job for job in jobs(tasks, rows, (0,)) if job.rate in rates[job.task]]
    with TemporaryDirectory() as folder:
        found = run_all(wanted, Path(folder) / "results.jsonl", processes=processes)
    print(over("A sample of tasks", measured(found.values()), tasks))
    some = [one for one in healthy.scenarios((1,)) if one.home in HEALTHY]
    runs = list(healthy.outcomes(some, processes))
    wrong = [*_wrong(list(found.values())), *(_touched(runs))]
    print("\n".join(["", *(wrong or ["Nothing is wrong."])]))
    return 1 if wrong else 0


def _wrong(found: Sequence[Result]) -> list[str]:
    """What ours must not do, and did."""
    lines: list[str] = []
    for task, by in measured(found).items():
        for row in OURS:
            own, plain = by[row.name], by[NONE]
            if own.diverged and row.name == "steer":
                lines.append(f"{row.name} diverged {own.diverged} times on {task}")
            if own.mean > plain.mean:
                lines.append(
                    f"{row.name} is more sensitive than plain training on {task}: "
                    f"{own.mean:.3f}, {plain.mean:.3f}"
                )
    return lines


def _touched(runs: Sequence[healthy.Outcome]) -> list[str]:
    return [healthy.said(one) for one in runs if one.did or not one.same]
