"""`python -m benchmarks.curvature [--quick]`: nothing comes in, tables go out.

Each tool works in a process of its own, on one thread, in turn with the others, at the
same model, batch and tolerance. Costs are CPU seconds of the process, set-up included.
Numbers are printed beside what was aimed at; one that falls short is no failure.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from benchmarks.curvature import (
    eigenvalues,
    problems,
    quadrature,
    surfaces,
    tracking,
)
from benchmarks.curvature.claims import Claim, claims_table
from benchmarks.curvature.workers import Workers
from benchmarks.tables import table

OURS, PYHESSIAN, GOLDSTEIN = "ours", "pyhessian", "goldstein"
EIGENTHINGS, CURVLINOPS = "eigenthings", "curvlinops_eigsh"
ALL = (OURS, PYHESSIAN, EIGENTHINGS, CURVLINOPS)


@dataclass(frozen=True, slots=True)
class Plan:
    """Who is measured at one problem, and at how many seeds; 0 leaves a row out."""

    problem: str
    tools: Sequence[str]
    top1: int
    top5: int
    trace: int
    coverage: int = 0
    density: int = 0
    surface: int = 0


FULL = (
    Plan("mlp", ALL, 5, 3, 40, coverage=500, density=5),
    Plan("resnet", (*ALL, GOLDSTEIN), 3, 3, 12, density=2, surface=3),
    Plan("resnet-train", (OURS, EIGENTHINGS), 3, 3, 12),
    Plan("gpt", (*ALL, GOLDSTEIN), 2, 2, 4, density=1, surface=2),
)
QUICK = (
    Plan("mlp", (OURS,), 5, 3, 20, density=2, surface=1),
    Plan("resnet", (OURS,), 2, 1, 0, surface=1),
)


@dataclass
class Findings:
    """What all problems gave."""

    claims: list[Claim] = field(default_factory=list)
    changed: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))


def measure(plan: Plan, found: Findings) -> None:
    """Print the tables of one problem."""
    print(f"\n## {problems.ALL[plan.problem]().about}", flush=True)
    with Workers(plan.problem, plan.tools) as workers:
        _eigenvalues(workers, plan, found)
        if plan.trace:
            runs = quadrature.traces(workers, plan.trace)
            _say(found, *quadrature.trace_report(plan.problem, runs))
        if plan.coverage:
            found.claims.append(quadrature.coverage(workers, plan.coverage))
        if plan.density:
            tools = [tool for tool in plan.tools if tool != GOLDSTEIN]
            runs = quadrature.densities(workers, tools, plan.density)
            _say(found, *quadrature.density_report(plan.problem, runs))
        if plan.surface:
            runs = surfaces.measure(workers, plan.surface)
            _say(found, *surfaces.report(plan.problem, runs))
        for tool, changed in workers.log.items():
            found.changed[tool] |= changed


def _eigenvalues(workers: Workers, plan: Plan, found: Findings) -> None:
    step = workers.training_step(OURS)
    tools = [tool for tool in plan.tools if tool != GOLDSTEIN]
    for k, seeds in ((1, plan.top1), (5, plan.top5)):
        rows = eigenvalues.measure(workers, tools, k=k, seeds=seeds)
        about = f"Top {k}, {plan.problem}: {seeds} seeds, a step is {1e3 * step:.3g} ms"
        text = eigenvalues.report(about, rows, step)
        claims = eigenvalues.claims(plan.problem, k, rows)
        if k > 1 and plan.problem != "mlp":  # which needs less than pages of memory
            claims += eigenvalues.memory_claims(plan.problem, rows)
        _say(found, text, claims)


def _say(found: Findings, text: str, claims: Sequence[Claim]) -> None:
    print(text, flush=True)
    found.claims += claims


def changed_table(changed: dict[str, set[str]]) -> str:
    """What each tool left other than it was."""
    cells = [
        [tool, ", ".join(sorted(what)) or "nothing"] for tool, what in changed.items()
    ]
    return table(
        "Changed in the model or the random streams", ("tool", "changed"), cells
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.curvature")
    parser.add_argument("--quick", action="store_true", help="Surefoot alone, fewer")
    parser.add_argument("--only", default="", help="one problem, or tracking")
    options = parser.parse_args(arguments)
    print(
        f"{os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}, torch {torch.__version__}, one thread"
    )
    torch.set_num_threads(1)
    start, found = time.perf_counter(), Findings()
    for plan in QUICK if options.quick else FULL:
        if options.only in ("", plan.problem):
            measure(plan, found)
    if found.claims:
        print(changed_table(found.changed))
        ours = len(found.changed[OURS])
        found.claims.append(Claim("kinds of state changed", "all", ours, 0))
        print(claims_table(found.claims), flush=True)
    if options.only in ("", "tracking"):
        print(tracking.report(options.quick))
    print(f"\n{time.perf_counter() - start:.0f} s of wall time")


if __name__ == "__main__":
    main()
