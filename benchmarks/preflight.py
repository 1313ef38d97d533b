"""What `surefoot.check` finds before the first update, on the runs of the zoo.

    python -m benchmarks.preflight [--seeds 3 5] [--records F] [--no-harm]

Healthy runs must raise no error and no warning; faults that are there at step 0 and do
harm must. Bounds were chosen on seeds 0 to 2; other seeds only report. Harm is that of
the zoo: held-out scores against the twin without the fault, from the labels that
`surefoot zoo run` left in a folder, or trained here.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

import surefoot
from benchmarks.tables import table
from surefoot.preflight.report import Report
from surefoot.zoo.harm import harm
from surefoot.zoo.recording import label_of
from surefoot.zoo.scenario import Scenario, planted, scenarios
from surefoot.zoo.task import Scores, Task
from surefoot.zoo.train import Nobody, next_batch, scored, train

TUNING_SEEDS = (0, 1, 2)

EXPECTED: Mapping[str, tuple[str, ...]] = {
    "rate_too_high": ("SF602",),
    "rate_too_low": ("SF603",),
    "no_warm_up": ("SF602", "SF309"),
    "post_norm": ("SF309", "SF602", "SF301", "SF601"),
    "large_epsilon": ("SF207",),
    "zero_epsilon": ("SF208",),
    "deep_sigmoid": ("SF301", "SF302"),
    "deep_plain": ("SF301", "SF302"),
    "small_start": ("SF301", "SF302"),
    "large_start": ("SF303", "SF102", "SF305", "SF308"),
    "exploding_recurrence": ("SF303", "SF308", "SF102", "SF101", "SF602"),
    "one_large_layer": ("SF308", "SF305", "SF102"),
    "zero_start": ("SF307", "SF306", "SF601"),
    "constant_start": ("SF306",),
    "no_norm": ("SF303", "SF102", "SF602"),
    "dead_start": ("SF304",),
    "saturated": ("SF305", "SF308"),
    "unscaled_inputs": ("SF402",),
    "double_softmax": ("SF103",),
    "clipped_logits": ("SF104",),
    "wrong_loss": ("SF105", "SF104"),
    "unheld_layer": ("SF201",),
    "loose_layer": ("SF109",),
    "detached": ("SF108", "SF107"),
    "half_overflow": ("SF701", "SF101", "SF702"),
    "evaluation_mode": ("SF502",),
    "stale_statistics": ("SF503",),
    "tiny_norm_batches": ("SF501",),
    "over_regularised": ("SF206",),
    "heavy_dropout": ("SF504",),
}
"""Faults that are there at step 0, and what names each."""


@dataclass(frozen=True)
class Row:
    """What one run gave; `harmful` is None where it was not tried."""

    scenario: Scenario
    report: Report
    seconds: float
    harmful: bool | None = None

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(one.id for one in self.report.flaws)


def checked(scenario: Scenario) -> Row | None:
    """The report on one run before its first step; None if it has several losses."""
    task, truth = planted(scenario)
    if task.update is not None or (truth is not None and truth.onset != 0):
        return None
    schedule(task, scenario)
    torch.manual_seed(task.training_seed)
    if 0 in task.change:
        task.change[0]()
    batch = next_batch(task, 0)
    start = time.perf_counter()
    report = surefoot.check(
        task.model,
        batch,
        loss_fn=task.loss,
        optimizer=task.optimizer,
        max_grad_norm=task.clip or None,
    )
    return Row(scenario, report, time.perf_counter() - start)


def schedule(task: Task, scenario: Scenario) -> None:
    """Set rates as a script does: a plain number, or a schedule of torch's own."""
    shape = task.schedule
    if scenario.fault in ("rate_too_high", "rate_too_low"):
        shape = planted(scenario.twin)[0].schedule
        now = 1.0 if task.schedule is None else task.schedule(0)
        factor = now / (1.0 if shape is None else shape(0))
        for group in task.optimizer.param_groups:
            group["lr"] *= factor
    if shape is not None:
        torch.optim.lr_scheduler.LambdaLR(task.optimizer, shape)


def cases(seeds: Iterable[int]) -> list[Scenario]:
    """Healthy runs, and the faults of step 0 in the homes that the zoo gives them."""
    found = scenarios(seeds)
    return [one for one in found if one.fault is None or one.fault in EXPECTED]


# --- harm -----------------------------------------------------------------------


@cache
def outcome(scenario: Scenario, records: Path) -> Scores | None:
    """Held-out scores at the end of a run."""
    label = label_of(records, scenario)
    if label is not None:
        return label.scores
    task, _ = planted(scenario)
    task.log_every = 0
    train(task, Nobody())
    return scored(task)


def is_harmful(scenario: Scenario, records: Path) -> bool:
    """Whether a fault costs anything against its twin."""
    return harm(outcome(scenario, records), outcome(scenario.twin, records)).held


# --- tables ---------------------------------------------------------------------


def part(row: Row) -> str:
    """Whether bounds were chosen on a run."""
    return "tuning" if row.scenario.seed in TUNING_SEEDS else "reporting"


def healthy_table(rows: list[Row]) -> str:
    alarmed = [row for row in rows if row.ids]
    lines = [
        f"\nhealthy runs with an error or a warning: {len(alarmed)} of {len(rows)}"
    ]
    lines += [f"  {row.scenario.name}: {', '.join(row.ids)}" for row in alarmed]
    return "\n".join(lines)


def faulty_table(title: str, rows: list[Row]) -> str:
    by_name: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.harmful is not False:
            by_name[str(row.scenario.fault)].append(row)
    body = [counts(name, found) for name, found in sorted(by_name.items())]
    body.append(counts("all", [row for found in by_name.values() for row in found]))
    heads = ("fault", "harmful runs", "found", "named", "named first")
    return table(title, heads, body)


def counts(name: str, rows: list[Row]) -> list[str]:
    found = sum(bool(row.ids) for row in rows)
    right = [set(EXPECTED[str(row.scenario.fault)]) & set(row.ids) for row in rows]
    first = [
        row.ids[:1] and row.ids[0] in EXPECTED[str(row.scenario.fault)] for row in rows
    ]
    n = max(1, len(rows))
    shares = [f"{sum(map(bool, x)) / n:.0%}" for x in (right, first)]
    return [name, str(len(rows)), f"{found / n:.0%}", *shares]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5])
    parser.add_argument("--only", default="", help="part of a scenario's name")
    parser.add_argument("--no-harm", action="store_true")
    parser.add_argument("--records", type=Path, default=Path("zoo-records"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows: list[Row] = []
    for scenario in cases(options.seeds):
        if options.only not in scenario.name:
            continue
        row = checked(scenario)
        if row is None:
            continue
        if scenario.fault is not None and not options.no_harm:
            row = Row(row.scenario, row.report, row.seconds,
                      is_harmful(scenario, options.records))  # fmt: skip
        rows.append(row)
        missed = scenario.fault is not None and not row.ids and row.harmful is not False
        if missed or (scenario.fault is None and row.ids):
            print(f"{scenario.name}: {', '.join(row.ids) or 'missed'}", flush=True)
    for name in ("tuning", "reporting"):
        own = [row for row in rows if part(row) == name]
        if own:
            print(healthy_table([r for r in own if r.scenario.fault is None]))
            print(
                faulty_table(f"Preflight, {name}", [r for r in own if r.scenario.fault])
            )
    taken = [row.seconds for row in rows]
    usual, most = statistics.median(taken), max(taken)
    print(f"\nseconds a check: median {usual:.2g}, most {most:.2g}")


if __name__ == "__main__":
    main()
