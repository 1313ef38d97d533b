"""Workers at one problem come in; what a surface of 21 x 21 points costs goes out."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.curvature.claims import Claim
from benchmarks.curvature.truths import Array
from benchmarks.curvature.workers import Measured, Workers
from benchmarks.tables import table

EXACT, REFINED = "Surefoot, every point", "Surefoot, refined"
SHIPPED, IN_MEMORY = "goldstein's", "goldstein's, directions in memory"
ASKED: Mapping[str, tuple[str, str]] = {
    EXACT: ("ours", "surface"),
    REFINED: ("ours", "refined surface"),
    SHIPPED: ("goldstein", "surface"),
    IN_MEMORY: ("goldstein", "surface, in memory"),
}
MEDIAN, P95 = 3e-3, 3e-2
"""Errors of a refined surface that are aimed at, as shares of the range."""
BEFORE = {EXACT: "0.75-0.79", REFINED: "0.23"}

Runs = Mapping[str, Sequence[Measured]]


def measure(workers: Workers, seeds: int) -> Runs:
    """Each way in turn, along other directions at each seed."""
    asked = {k: v for k, v in ASKED.items() if v[0] in workers.tools}
    found: dict[str, list[Measured]] = {name: [] for name in asked}
    for seed in range(seeds):
        for name, (tool, what) in asked.items():
            found[name].append(workers.ask(tool, what, seed=seed))
    return found


def true_errors(found: Runs) -> Array:
    """Median, 95th percentile and most over all points, as shares of the range."""
    rows = []
    for refined, exact in zip(found[REFINED], found[EXACT], strict=True):
        errors = np.abs(refined.values - exact.values) / np.ptp(exact.values)
        rows.append([*np.quantile(errors, [0.5, 0.95]), errors.max()])
    return np.array(rows)


def report(problem: str, found: Runs) -> tuple[str, list[Claim]]:
    """CPU time, points that were evaluated, true and stated errors."""
    errors = true_errors(found)
    stated = np.array([run.weights for run in found[REFINED]])
    told = {REFINED: [_percents(errors), _percents(stated)]}
    cells = [
        [
            name,
            f"{statistics.mean(run.products for run in runs):.0f}",
            f"{_cpu(runs):.3g}",
            f"{_cpu(runs) / _cpu(found[EXACT]):.2f}",
            *told.get(name, ["–", "–"]),
        ]
        for name, runs in found.items()
    ]
    heads = ("way", "evaluations", "CPU s", "/ every point", "true error, %",
             "stated, %")  # fmt: skip
    title = f"21 x 21 surface, {problem} (median, 95th percentile and most of errors)"
    return table(title, heads, cells), [
        *_cost_claims(problem, found),
        *_error_claims(problem, errors, stated),
    ]


def _cost_claims(problem: str, found: Runs) -> list[Claim]:
    return [
        Claim(f"surface: CPU {ours} / {peer}", problem,
              _cpu(found[ours]) / _cpu(found[peer]), target, BEFORE[ours])
        for ours, target in ((EXACT, 0.75), (REFINED, 0.25))
        for peer in (SHIPPED, IN_MEMORY)
        if peer in found
    ]  # fmt: skip


def _error_claims(problem: str, errors: Array, stated: Array) -> list[Claim]:
    median, p95, _ = errors.max(axis=0)
    below = float(np.max(errors[:, 1] - stated[:, 1]))
    return [
        Claim("refined surface: median error, worst seed", problem, median, MEDIAN),
        Claim("refined surface: 95th percentile, worst seed", problem, p95, P95),
        Claim("refined surface: 95th percentile - stated", problem, below, 0),
    ]


def _percents(errors: Array) -> str:
    return ", ".join(f"{100 * one:.2g}" for one in errors.mean(axis=0))


def _cpu(runs: Sequence[Measured]) -> float:
    return statistics.median(run.cpu for run in runs)
