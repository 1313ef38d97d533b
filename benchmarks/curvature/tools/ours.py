"""Surefoot."""

from __future__ import annotations

import numpy as np

from benchmarks.curvature.problems import Problem, loss_of
from benchmarks.curvature.tools.request import Answer, Request, Tasks
from surefoot.curvature.density import spectral_density
from surefoot.curvature.lanczos import eigenpairs
from surefoot.curvature.operators import hessian
from surefoot.curvature.trace import trace
from surefoot.landscape.surface import Options, surface


def top(problem: Problem, request: Request) -> Answer:
    """The k largest eigenvalues, until the bound says that the tolerance holds."""
    with hessian(problem.model, problem.batch, loss_fn=loss_of) as operator:
        found = eigenpairs(
            operator, request.k, tolerance=request.tolerance, seed=request.seed
        )
        worst = float((found.errors / np.abs(found.values)).max())
        note = "" if found.converged else found.note
        return Answer(found.values.tolist(), operator.products, worst, note)


def traced(problem: Problem, request: Request, method: str = "auto") -> Answer:
    """The trace from so many products, by the method that chooses itself."""
    with hessian(problem.model, problem.batch, loss_fn=loss_of) as operator:
        found = trace(
            operator,
            tolerance=1e-9,
            most_products=request.products,
            method=method,
            seed=request.seed,
        )
        interval = found.interval()
        return Answer(
            [found.value, *interval], operator.products, found.error, found.method
        )


def density(problem: Problem, request: Request) -> Answer:
    """Stochastic Lanczos quadrature."""
    with hessian(problem.model, problem.batch, loss_fn=loss_of) as operator:
        found = spectral_density(
            operator, probes=request.probes, steps=request.steps, seed=request.seed
        )
        nodes, weights = np.asarray(found.nodes), np.asarray(found.weights)
        return Answer(
            nodes.ravel().tolist(),
            operator.products,
            weights=(weights / weights.sum()).ravel().tolist(),
        )


def exact(problem: Problem, request: Request) -> Answer:
    """Every point of the surface."""
    return _surface(problem, request, exact=True)


def refined(problem: Problem, request: Request) -> Answer:
    """A coarse grid, refined where its error asks for it."""
    return _surface(problem, request, exact=False)


def _surface(problem: Problem, request: Request, *, exact: bool) -> Answer:
    found = surface(
        problem.model,
        problem.batch,
        loss_fn=loss_of,
        points=request.points,
        options=Options(exact=exact, seed=request.seed),
    )
    stated = [found.error.get(key, 0.0) for key in ("median", "p95", "max")]
    return Answer(found.losses.ravel().tolist(), found.evaluations, weights=stated)


TASKS: Tasks = {
    "top": top,
    "trace": traced,
    "density": density,
    "surface": exact,
    "refined surface": refined,
}
