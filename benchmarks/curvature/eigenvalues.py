"""Workers at one problem come in; what the top eigenvalues cost each tool goes out."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.curvature import truths
from benchmarks.curvature.claims import Claim
from benchmarks.curvature.truths import Ends
from benchmarks.curvature.workers import Measured, Workers
from benchmarks.tables import table

OURS, PYHESSIAN = "ours", "pyhessian"
EIGENTHINGS, CURVLINOPS = "eigenthings", "curvlinops_eigsh"
TOLERANCE = 1e-3
"""Asked of all tools."""
GOAL = {1: 1e-3, 5: 1e-4}
"""The error that is aimed at, for the largest and for the five largest."""

BEFORE = {
    ("top-1 CPU", "mlp"): "0.07",
    ("top-1 CPU", "resnet"): "0.09",
    ("top-1 CPU", "gpt"): "0.14",
    ("top-5 products", "mlp"): "0.22",
    ("top-5 products", "resnet"): "0.31",
    ("top-5 products", "gpt"): "0.22",
    ("top-5 CPU", "mlp"): "0.13",
    ("top-5 CPU", "resnet"): "0.23",
    ("top-5 CPU", "gpt"): "0.46",
}
"""Ratios of a prototype, on other data and under another load."""


@dataclass(frozen=True, slots=True)
class Row:
    """One tool over all seeds."""

    tool: str
    runs: Sequence[Measured]
    errors: Sequence[float]

    @property
    def products(self) -> float:
        return statistics.mean(run.products for run in self.runs)

    @property
    def cpu(self) -> float:
        return statistics.median(run.cpu for run in self.runs)

    @property
    def extra(self) -> float:
        return statistics.median(run.extra for run in self.runs)


def measure(workers: Workers, tools: Sequence[str], *, k: int, seeds: int) -> list[Row]:
    """Every tool at every seed, one after the other in turn."""
    truth = truths.ends(workers.problem)
    runs: dict[str, list[Measured]] = {tool: [] for tool in tools}
    for seed in range(seeds):
        steps = _fewest_steps(workers, truth, k, seed)
        for tool in np.random.default_rng(seed).permutation(tools):
            request = {"k": k, "seed": seed, "tolerance": TOLERANCE, "steps": steps}
            runs[tool].append(workers.ask(tool, "top", **request))
    return [
        Row(tool, found, [error_of(tool, run, truth, k) for run in found])
        for tool, found in runs.items()
    ]


def _fewest_steps(workers: Workers, truth: Ends, k: int, seed: int) -> int:
    """The best setting of the tool that does not stop by itself."""
    if EIGENTHINGS not in workers.tools:
        return 0
    known = truth.top(k).tolist()
    request = {"k": k, "seed": seed, "tolerance": GOAL[k], "truth": known}
    return int(workers.ask(EIGENTHINGS, "fewest steps", **request).values[0])


def error_of(tool: str, run: Measured, truth: Ends, k: int) -> float:
    """The worst error of k eigenvalues, each relative to itself."""
    if tool == PYHESSIAN:  # by magnitude
        order = np.argsort(-np.abs(run.values))
        return float(np.abs(run.values[order] / truth.largest[:k] - 1).max())
    return float(np.abs(run.values / truth.top(k) - 1).max())


def report(about: str, rows: Sequence[Row], step: float) -> str:
    """Products, worst errors, CPU time and memory."""
    ours = _by_tool(rows)[OURS]
    cells = [
        [
            row.tool,
            f"{row.products:.1f}",
            f"{max(run.products for run in row.runs)}",
            f"{max(row.errors):.1e}",
            _stated(row),
            f"{row.cpu:.3g}",
            f"{row.cpu / step:.1f}",
            f"{row.cpu / ours.cpu:.2f}",
            f"{row.extra:.0f}",
        ]
        for row in rows
    ]
    heads = ("tool", "products, mean", "most", "worst error", "worst stated",
             "CPU s", "in training steps", "CPU / ours", "extra MB")  # fmt: skip
    return table(about, heads, cells)


def _stated(row: Row) -> str:
    stated = [run.error for run in row.runs if run.error is not None]
    return f"{max(stated):.1e}" if stated else "–"


def _by_tool(rows: Sequence[Row]) -> dict[str, Row]:
    return {row.tool: row for row in rows}


def claims(problem: str, k: int, rows: Sequence[Row]) -> list[Claim]:
    """What was aimed at, of the tools that are there."""
    by_tool, name = _by_tool(rows), f"top-{k}"
    ours = by_tool[OURS]
    found = [Claim(f"{name}: worst error", problem, max(ours.errors), GOAL[k])]
    if CURVLINOPS in by_tool:
        peer = by_tool[CURVLINOPS]
        if k == 1:
            ratio = ours.products / peer.products
            found.append(
                Claim(f"{name}: products / curvlinops + eigsh", problem, ratio, 0.5)
            )
        found.append(
            Claim(f"{name}: CPU / curvlinops + eigsh", problem, ours.cpu / peer.cpu,
                  0.15 if k == 1 else 0.4, BEFORE.get((f"{name} CPU", problem), ""))
        )  # fmt: skip
    if PYHESSIAN in by_tool:
        found.append(_against_pyhessian(problem, k, ours, by_tool[PYHESSIAN]))
    if EIGENTHINGS in by_tool and k > 1:
        ratio = ours.cpu / by_tool[EIGENTHINGS].cpu
        about = f"{name}: CPU / hessian-eigenthings, best setting"
        found.append(Claim(about, problem, ratio, 0.65))
    return found


def _against_pyhessian(problem: str, k: int, ours: Row, peer: Row) -> Claim:
    if k == 1:
        pairs = zip(ours.runs, peer.runs, strict=True)
        more = max(one.products - other.products for one, other in pairs)
        about = "top-1: products - PyHessian's at its stop, worst seed"
        return Claim(about, problem, more, 0)
    ratio = ours.products / peer.products
    before = BEFORE.get((f"top-{k} products", problem), "")
    return Claim(f"top-{k}: products / PyHessian", problem, ratio, 0.3, before)


def memory_claims(problem: str, rows: Sequence[Row]) -> list[Claim]:
    """Against the leanest tool whose every eigenvalue is right."""
    exact = [r for r in rows if r.tool != OURS and max(r.errors) <= TOLERANCE]
    if not exact:
        return []
    leanest = min(exact, key=lambda row: row.extra)
    ratio = _by_tool(rows)[OURS].extra / leanest.extra
    return [Claim(f"top-5: peak memory / {leanest.tool}", problem, ratio, 1.2)]
