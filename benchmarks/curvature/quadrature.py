"""Workers at one problem come in; what traces and densities cost each tool goes out."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import chi2, wasserstein_distance

from benchmarks.curvature import truths
from benchmarks.curvature.claims import Claim
from benchmarks.curvature.truths import Array, Trace
from benchmarks.curvature.workers import Measured, Workers
from benchmarks.tables import table

OURS = "ours"
PRODUCTS = 60
"""Of each trace."""
LEAST_COVERED = 0.93
"""Of stated 95 % intervals."""
FEW_DOMINATE: Mapping[str, bool] = {
    "mlp": True,
    "resnet": True,
    "resnet-train": True,
    "gpt": False,
}

TRACES: Mapping[str, Sequence[str]] = {
    OURS: ("trace",),
    "eigenthings": ("trace", "trace, hutch++"),
    "curvlinops_eigsh": ("trace, xtrace",),
    "pyhessian": ("trace",),
}
"""What each tool is asked; "trace" of a peer is Hutchinson's."""


# --- traces ---------------------------------------------------------------------


def traces(workers: Workers, seeds: int) -> dict[tuple[str, str], list[Measured]]:
    """Our traces at every seed, in turn with those of others at a third of them."""
    asked = [(tool, what) for tool in workers.tools for what in TRACES.get(tool, ())]
    found: dict[tuple[str, str], list[Measured]] = {one: [] for one in asked}
    for seed in range(seeds):
        for tool, what in asked:
            if tool != OURS and seed >= max(2, seeds // 3):
                continue
            run = workers.ask(tool, what, seed=seed, products=PRODUCTS)
            found[tool, what].append(run)
    return found


def rmse(runs: Sequence[Measured], truth: Trace) -> float:
    """Of the estimates, without the error of the truth."""
    errors = np.array([run.values[0] - truth.value for run in runs])
    square = float(np.mean(errors**2)) - truth.error**2
    return float(np.sqrt(max(square, 0.1 * np.mean(errors**2))))


def equal_products(
    runs: Sequence[Measured], truth: Trace
) -> tuple[float, float, float]:
    """Products over those that Hutchinson needs for the same error; 90 % interval."""
    products = statistics.mean(run.products for run in runs)
    ratio = products * (rmse(runs, truth) / truth.probe_sd) ** 2
    n = len(runs)
    low, high = n / chi2.ppf(0.95, n), n / chi2.ppf(0.05, n)
    return ratio, ratio * float(low), ratio * float(high)


def trace_report(
    problem: str, found: Mapping[tuple[str, str], Sequence[Measured]]
) -> tuple[str, list[Claim]]:
    """Errors at 60 products, and the products of Hutchinson's for the same error."""
    truth = truths.trace(problem)
    cells = [_trace_row(key, runs, truth) for key, runs in found.items()]
    heads = ("tool", "asked for", "seeds", "products", "RMSE, %", "stated, %",
             "/ Hutchinson's products", "90 % interval", "CPU s")  # fmt: skip
    known = f"truth {truth.value:.5g} ± {truth.error:.2g}"
    text = table(f"Trace, {problem}: {known}", heads, cells)
    return text, trace_claims(problem, found[OURS, "trace"], truth)


def _trace_row(
    key: tuple[str, str], runs: Sequence[Measured], truth: Trace
) -> list[str]:
    ratio, low, high = equal_products(runs, truth)
    stated = [run.error for run in runs if run.error is not None]
    return [
        *key,
        str(len(runs)),
        f"{statistics.mean(run.products for run in runs):.0f}",
        f"{100 * rmse(runs, truth) / truth.value:.2f}",
        f"{100 * statistics.median(stated) / truth.value:.2f}" if stated else "–",
        f"{ratio:.2f}",
        f"{low:.2f}-{high:.2f}",
        f"{statistics.median(run.cpu for run in runs):.3g}",
    ]


def trace_claims(problem: str, runs: Sequence[Measured], truth: Trace) -> list[Claim]:
    """By true errors, which few seeds tell roughly, and by the stated ones."""
    ratio, low, high = equal_products(runs, truth)
    stated = statistics.median(run.error or 0.0 for run in runs)
    products = statistics.mean(run.products for run in runs)
    target = 0.25 if FEW_DOMINATE[problem] else 1.05
    before = "1/16-1/6" if FEW_DOMINATE[problem] else "1"
    about = "trace: products / Hutchinson's, equal error"
    told = products * (stated / truth.probe_sd) ** 2
    return [
        Claim(about, f"{problem} ({low:.2f}-{high:.2f})", ratio, target, before),
        Claim(f"{about} as stated", problem, told, target, before),
    ]


def coverage(workers: Workers, seeds: int) -> Claim:
    """How many stated 95 % intervals miss the exact trace."""
    exact = truths.trace(workers.problem).value
    missed = 0
    for seed in range(seeds):
        run = workers.ask(OURS, "trace", seed=1_000 + seed, products=PRODUCTS)
        _, low, high = run.values
        missed += not low <= exact <= high
    about = f"trace: stated 95 % intervals that miss, of {seeds}"
    return Claim(about, workers.problem, missed / seeds, 1 - LEAST_COVERED)


# --- densities ------------------------------------------------------------------


def densities(
    workers: Workers, tools: Sequence[str], seeds: int
) -> dict[str, list[Measured]]:
    """Three probes of forty steps, each tool in turn."""
    found: dict[str, list[Measured]] = {tool: [] for tool in tools}
    for seed in range(seeds):
        for tool in tools:
            found[tool].append(workers.ask(tool, "density", seed=seed))
    return found


def density_error(run: Measured, spectrum: Array) -> float:
    """Wasserstein distance from the exact spectrum, as a share of its range."""
    # One tool rounds weights of nothing to below it.
    weights = np.maximum(run.weights, 0)
    distance = wasserstein_distance(run.values, spectrum, weights)
    return float(distance / np.ptp(spectrum))


def density_report(
    problem: str, found: Mapping[str, Sequence[Measured]]
) -> tuple[str, list[Claim]]:
    """CPU time, and the error where the spectrum is known."""
    spectrum = truths.ends(problem).largest
    whole = len(spectrum) > 100
    cells, claims = [], []
    for tool, runs in found.items():
        works = [run for run in runs if len(run.values)]
        errors = [density_error(run, spectrum) for run in works] if whole else []
        cells.append(
            [tool, str(runs[0].products or "–"),
             f"{_cpu(runs):.3g}" if works else "–",
             f"{statistics.mean(errors):.1e}" if errors else "–",
             "" if works else runs[0].note[:60]]
        )  # fmt: skip
        if tool == OURS and errors:
            about = "density: Wasserstein error / range, mean"
            claims.append(Claim(about, problem, statistics.mean(errors), 2e-3, "1e-3"))
    if "eigenthings" in found:
        ratio = _cpu(found[OURS]) / _cpu(found["eigenthings"])
        about = "density: CPU / hessian-eigenthings"
        claims.append(Claim(about, problem, ratio, 0.6, "0.58-0.68"))
    heads = ("tool", "products", "CPU s", "error / range", "")
    return table(
        f"Spectral density, 3 probes x 40 steps, {problem}", heads, cells
    ), claims


def _cpu(runs: Sequence[Measured]) -> float:
    return statistics.median(run.cpu for run in runs)
