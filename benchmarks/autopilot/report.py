"""Figures come in, tables and the targets beside them go out as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from benchmarks.autopilot.figures import (
    Figures,
    Summary,
    best_peer,
    figures,
    grouped,
    summary,
)
from benchmarks.autopilot.methods import NONE
from benchmarks.autopilot.tasks import Task
from benchmarks.autopilot.training import Result
from benchmarks.tables import table

OF_NONE, OF_PEER, AT_BEST = 0.28, 0.4, 1.005
"""What is aimed at: sensitivity beside none and beside the best peer, and the loss at
the best rate of plain training."""

ByTask = Mapping[str, Mapping[str, Figures]]

SUMMARY_HEAD = (
    "method",
    "tasks",
    "sensitivity",
    "least to most",
    "best loss",
    "at none's best rate",
    "failed",
    "diverged",
    "harmed",
    "worst",
    "CPU a step",
)


def measured(results: Iterable[Result]) -> dict[str, dict[str, Figures]]:
    """Figures by task and method, where plain training was run too."""
    found: dict[str, dict[str, Figures]] = {}
    for task, methods in grouped(results).items():
        if NONE in methods:
            made = {name: figures(methods, name, NONE) for name in methods}
            found[task] = {name: one for name, one in made.items() if one is not None}
    return found


def report(
    results: Sequence[Result], tasks: Sequence[Task], ours: Sequence[str]
) -> str:
    """All tables: over all tasks, those of each half, task by task, and the targets."""
    found = measured(results)
    known = [task for task in tasks if task.name in found]
    halves = (
        ("All tasks", known),
        ("Tasks like those that bounds were chosen on", [t for t in known if t.tuned]),
        ("Tasks that no bound was chosen on", [t for t in known if not t.tuned]),
    )
    parts = [over(title, found, some) for title, some in halves if some]
    parts += [task_by_task(found, known), losses_by_rate(results, known, ours)]
    parts += [targets(found, known, name, ours) for name in ours]
    return "\n".join(part for part in parts if part)


def summaries(found: ByTask, tasks: Sequence[Task]) -> list[Summary]:
    """One a method, the least sensitive first; those that miss tasks come last."""
    some = [found[task.name] for task in tasks]
    names = dict.fromkeys(name for methods in some for name in methods)
    own = {name: [by[name] for by in some if name in by] for name in names}
    made = [summary(name, own[name]) for name in names]
    return sorted(made, key=lambda one: (one.tasks < len(some) / 2, one.sensitivity))


def over(title: str, found: ByTask, tasks: Sequence[Task]) -> str:
    """The methods over some tasks."""
    rows = [_summary_row(one) for one in summaries(found, tasks)]
    return table(f"{title} ({len(tasks)})", SUMMARY_HEAD, rows)


def _summary_row(one: Summary) -> tuple[str, ...]:
    return (
        one.name,
        str(one.tasks),
        f"{one.sensitivity:.2f}",
        f"{one.low:.2f} to {one.high:.2f}",
        f"{100 * (one.best - 1):+.1f} %",
        f"{100 * (one.at_best - 1):+.1f} %",
        f"{one.failed} of {one.runs}",
        str(one.diverged),
        f"{100 * one.harmed:.0f} %",
        f"{100 * one.worst:+.0f} %",
        f"{one.cost:.2f}",
    )


def task_by_task(found: ByTask, tasks: Sequence[Task]) -> str:
    """Sensitivity of every method on every task, and half its spread over seeds."""
    names = [one.name for one in summaries(found, tasks)]
    rows = [
        (
            task.name,
            *(_cell(found[task.name].get(name)) for name in names),
        )
        for task in tasks
    ]
    return table("Sensitivity, task by task", ("task", *names), rows)


def _cell(one: Figures | None) -> str:
    return "-" if one is None else f"{one.mean:.3f} ±{one.spread:.3f}"


def losses_by_rate(
    results: Iterable[Result], tasks: Sequence[Task], ours: Sequence[str]
) -> str:
    """The final losses, mean over seeds, of plain training, warm-up and ours."""
    known = grouped(results)
    rows: list[tuple[str, ...]] = []
    for task in tasks:
        methods = known[task.name]
        for name in (NONE, "warm-up + clip 1", *ours):
            if name in methods:
                rows.append((task.name, name, *_losses(methods[name], task.rates)))
    head = ("task", "method", *(f"rate {k}" for k in range(1, 8)))
    return table("Final loss at each of the seven rates", head, rows)


def _losses(
    seeds: Mapping[int, Mapping[float, Result]], rates: Sequence[float]
) -> list[str]:
    cells: list[str] = []
    for rate in rates:
        finals = [by[rate].final for by in seeds.values() if rate in by]
        finite = [one for one in finals if one is not None]
        lost = len(finals) - len(finite)
        shown = f"{fmean(finite):.3f}" if finite else "-"
        cells.append(f"{shown} ({lost} lost)" if lost else shown)
    return cells


def targets(
    found: ByTask, tasks: Sequence[Task], name: str, ours: Sequence[str]
) -> str:
    """What a method of ours reaches, beside what is aimed at."""
    known = [task for task in tasks if name in found[task.name]]
    if not known:
        return ""
    all_of = {one.name: one for one in summaries(found, known)}
    own = all_of[name]
    peers = [one for one in all_of.values() if one.name not in ours]
    full = [one for one in peers if one.tasks == len(known)]
    peer = min(full, key=lambda one: one.sensitivity)
    behind = [_behind(found, task.name, name, ours) for task in known]
    own_of = {task.name: found[task.name][name] for task in known}
    at_best = {task: one.at_best / one.plain_best for task, one in own_of.items()}
    over_limit = [
        f"{task} {100 * r - 100:+.1f} %" for task, r in at_best.items() if r > AT_BEST
    ]
    ratio = own.sensitivity / peer.sensitivity
    lines = [
        f"- sensitivity {own.sensitivity:.3f} of none, aimed at ≤ {OF_NONE}",
        f"- {ratio:.2f} of the best peer ({peer.name}), aimed at ≤ {OF_PEER}",
        f"- tasks on which a peer is better: {_listed(behind)}; aimed at: none",
        f"- diverged {own.diverged}, failed {own.failed} of {own.runs}; aimed at 0",
        f"- at none's best rate {100 * own.at_best - 100:+.2f} %, over 0.5 % on: "
        f"{_listed(over_limit)}",
    ]
    return "\n".join(["", f"### {name}", "", *lines])


def _behind(found: ByTask, task: str, name: str, ours: Sequence[str]) -> str:
    peer, figure = best_peer(found, task, ours)
    own = found[task][name].mean
    return "" if own <= figure.mean else f"{task} ({peer} {figure.mean:.3f}, {own:.3f})"


def _listed(found: Sequence[str]) -> str:
    return ", ".join(one for one in found if one) or "none"
