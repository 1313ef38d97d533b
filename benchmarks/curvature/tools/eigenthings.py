"""hessian-eigenthings: Lanczos with the basis of a fixed size, Hutch++, SLQ.

It does not stop by itself. Its best setting is the fewest steps with which the error is
small enough, looked up with the truth in hand and not counted.
"""

from __future__ import annotations

import numpy as np
import torch
from hessian_eigenthings import HessianOperator, lanczos, spectral_density, trace
from hessian_eigenthings.algorithms.lanczos import lanczos_tridiagonal

from benchmarks.curvature.problems import Problem, loss_of
from benchmarks.curvature.tools.request import Answer, Request, Tasks

MOST_STEPS = 50


class Counted(HessianOperator):
    """The operator, its products counted."""

    products = 0

    def matvec(self, v: torch.Tensor) -> torch.Tensor:
        self.products += 1
        return super().matvec(v)


def _operator(problem: Problem) -> Counted:
    return Counted(problem.model, [problem.batch], loss_of)


def top(problem: Problem, request: Request) -> Answer:
    """The k largest after a given number of steps."""
    operator = _operator(problem)
    found = lanczos(
        operator, k=request.k, max_iter=request.steps, which="LA", seed=request.seed
    )
    return Answer(found.eigenvalues.tolist(), operator.products)


def default_top(problem: Problem, request: Request) -> Answer:
    """The k largest as they come without choosing the number of steps."""
    operator = _operator(problem)
    found = lanczos(
        operator, k=request.k, tol=request.tolerance, which="LA", seed=request.seed
    )
    return Answer(found.eigenvalues.tolist(), operator.products)


def fewest_steps(problem: Problem, request: Request) -> Answer:
    """The fewest steps that bring the k largest within the tolerance."""
    draw = torch.Generator().manual_seed(request.seed)
    start = torch.randn(problem.size, generator=draw)
    found = lanczos_tridiagonal(_operator(problem), start, MOST_STEPS)
    diagonal, beside = found.alphas.double().numpy(), found.betas.double().numpy()
    truth = np.asarray(request.truth)
    for steps in range(request.k, len(diagonal) + 1):
        matrix = np.diag(diagonal[:steps])
        matrix += np.diag(beside[: steps - 1], 1) + np.diag(beside[: steps - 1], -1)
        values = np.linalg.eigvalsh(matrix)[::-1][: request.k]
        if np.all(np.abs(values / truth - 1) <= request.tolerance):
            return Answer([steps])
    return Answer([MOST_STEPS], note="not reached")


def hutchinson(problem: Problem, request: Request) -> Answer:
    """Hutchinson's estimate from so many products."""
    return _trace(problem, request, "hutchinson")


def hutchpp(problem: Problem, request: Request) -> Answer:
    """Hutch++ from so many products: its default."""
    return _trace(problem, request, "hutch++")


def _trace(problem: Problem, request: Request, method: str) -> Answer:
    operator = _operator(problem)
    found = trace(
        operator, num_matvecs=request.products, method=method, seed=request.seed
    )
    return Answer([found.estimate], operator.products, found.stderr)


def density(problem: Problem, request: Request) -> Answer:
    """Stochastic Lanczos quadrature."""
    operator = _operator(problem)
    found = spectral_density(
        operator,
        num_runs=request.probes,
        lanczos_steps=request.steps,
        seed=request.seed,
    )
    nodes, weights = found.raw_eigenvalues.ravel(), found.raw_weights.ravel()
    return Answer(
        nodes.tolist(), operator.products, weights=(weights / weights.sum()).tolist()
    )


TASKS: Tasks = {
    "top": top,
    "top, defaults": default_top,
    "fewest steps": fewest_steps,
    "trace": hutchinson,
    "trace, hutch++": hutchpp,
    "density": density,
}
