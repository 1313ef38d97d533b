"""PyHessian 0.1: power iteration, Hutchinson's trace; evaluation mode is forced."""

from __future__ import annotations

import sys
from typing import Any

import torch
from pyhessian import hessian

from benchmarks.curvature.problems import CRITERION, Problem
from benchmarks.curvature.tools.request import Answer, Request, Tasks


class Counted:
    """PyHessian's product with the Hessian, counted."""

    def __init__(self) -> None:
        self.calls = 0
        # The package gives its class the name of the module, which hides the module.
        self._module = sys.modules["pyhessian.hessian"]
        self._own = self._module.hessian_vector_product

    def __enter__(self) -> Counted:
        self._module.hessian_vector_product = self._product
        return self

    def __exit__(self, *error: object) -> None:
        self._module.hessian_vector_product = self._own

    def _product(self, *arguments: Any) -> Any:
        self.calls += 1
        return self._own(*arguments)


def top(problem: Problem, request: Request) -> Answer:
    """The k of largest magnitude, with its defaults and the tolerance."""
    torch.manual_seed(request.seed)
    with Counted() as counted:
        tool = hessian(problem.model, CRITERION, data=problem.batch, cuda=False)
        values, _ = tool.eigenvalues(tol=request.tolerance, top_n=request.k)
        return Answer(values, counted.calls)


def trace(problem: Problem, request: Request) -> Answer:
    """Hutchinson's estimate, until its own rule stops it."""
    torch.manual_seed(request.seed)
    with Counted() as counted:
        tool = hessian(problem.model, CRITERION, data=problem.batch, cuda=False)
        forms = torch.tensor(tool.trace(tol=request.tolerance))
        return Answer([float(forms.mean())], counted.calls)


def density(problem: Problem, request: Request) -> Answer:
    """Raises on today's torch: it calls `torch.eig`, which is gone."""
    tool = hessian(problem.model, CRITERION, data=problem.batch, cuda=False)
    tool.density(iter=2, n_v=1)
    raise AssertionError("density() works again: measure it")


TASKS: Tasks = {"top": top, "trace": trace, "density": density}
