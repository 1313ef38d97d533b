"""curvlinops with scipy's eigsh (ARPACK), XTrace, and Papyan's spectral density."""

from __future__ import annotations

import numpy as np
import torch
from curvlinops import (
    HessianLinearOperator,
    hutchinson_trace,
    lanczos_approximate_spectrum,
    xtrace,
)
from scipy.sparse.linalg import eigsh

from benchmarks.curvature.problems import CRITERION, Problem
from benchmarks.curvature.tools.request import Answer, Request, Tasks


class Counted(HessianLinearOperator):
    """The operator, its products counted; each column is one."""

    products = 0

    def _matmat(self, M: list[torch.Tensor]) -> list[torch.Tensor]:
        self.products += M[0].shape[-1]
        return super()._matmat(M)


def _operator(problem: Problem) -> Counted:
    weights = list(problem.model.parameters())
    return Counted(
        problem.model, CRITERION, weights, [problem.batch], check_deterministic=False
    )


def top(problem: Problem, request: Request) -> Answer:
    """The k largest, with ARPACK's defaults and the tolerance."""
    operator = _operator(problem)
    start = np.random.default_rng(request.seed).standard_normal(problem.size)
    found = eigsh(
        operator.to_scipy(),
        k=request.k,
        which="LA",
        tol=request.tolerance,
        v0=start.astype(np.float32),
        return_eigenvectors=True,
    )
    return Answer(found[0][::-1].tolist(), operator.products)


def hutchinson(problem: Problem, request: Request) -> Answer:
    """Hutchinson's estimate from so many products."""
    torch.manual_seed(request.seed)
    operator = _operator(problem)
    return Answer([float(hutchinson_trace(operator, request.products))],
                  operator.products)  # fmt: skip


def exchangeable(problem: Problem, request: Request) -> Answer:
    """XTrace from so many products."""
    torch.manual_seed(request.seed)
    operator = _operator(problem)
    return Answer([float(xtrace(operator, request.products))], operator.products)


def density(problem: Problem, request: Request) -> Answer:
    """A smoothed density on a grid; its weights contain the smoothing."""
    torch.manual_seed(request.seed)
    operator = _operator(problem)
    grid, found = lanczos_approximate_spectrum(
        operator, request.steps, num_repeats=request.probes
    )
    return Answer(
        grid.tolist(), operator.products, weights=(found / found.sum()).tolist()
    )


TASKS: Tasks = {
    "top": top,
    "trace": hutchinson,
    "trace, xtrace": exchangeable,
    "density": density,
}
