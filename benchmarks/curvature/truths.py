"""A problem comes in; the ends of its spectrum and its trace go out.

In float64, and by none of Surefoot's own code.

The dense Hessian where there are few weights, else ARPACK to machine precision, each
pair checked by its residual, and a trace from many products with its standard error.
Truths take minutes, so they are kept in the system's temporary folder, under a digest
of the weights and the batch.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, eigsh
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.curvature import problems
from benchmarks.curvature.problems import Problem

Array = NDArray[np.float64]
KEPT = Path(tempfile.gettempdir()) / "surefoot-curvature-truths"
MOST_DENSE = 5_000
"""Weights up to which the dense Hessian is made."""
SKETCH, REST = 120, 360
"""Products of the parts of a trace that is not exact; the sketch is used twice."""
MOST_RESIDUAL = 1e-9
"""Of |Hv - λv| over |λ|."""


@dataclass(frozen=True, slots=True)
class Ends:
    """The eigenvalues of largest magnitude, by magnitude; all of them if it is dense.

    `residual` is the largest of |Hv - λv| over |λ|.
    """

    largest: Array
    residual: float

    def top(self, k: int) -> Array:
        """The k largest eigenvalues, descending."""
        positive = np.sort(self.largest[self.largest > 0])[::-1]
        if len(positive) < k:
            raise ValueError(f"{len(positive)} positive eigenvalues known, not {k}")
        return positive[:k]


@dataclass(frozen=True, slots=True)
class Trace:
    """The trace, its standard error (0 if exact), and that of one Hutchinson probe."""

    value: float
    error: float
    probe_sd: float


def ends(name: str) -> Ends:
    """The ends of the spectrum of one problem, kept or made now."""
    return Ends(**_kept(name, "ends", dense_ends, sparse_ends))


def trace(name: str) -> Trace:
    """The trace of one problem, kept or made now."""
    return Trace(**_kept(name, "trace", dense_trace, pooled_trace))


def _kept(
    name: str,
    what: str,
    small: Callable[[Problem], Ends | Trace],
    large: Callable[[Problem], Ends | Trace],
) -> dict[str, Any]:
    problem = problems.ALL[name]()
    path = KEPT / f"{name}-{what}-{problem.digest()}.npz"
    if not path.exists():
        print(f"making the truth of {name}: {what}", file=sys.stderr, flush=True)
        found = (small if problem.size <= MOST_DENSE else large)(problem)
        KEPT.mkdir(exist_ok=True)
        passing = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(passing, **asdict(found))
        passing.replace(path)
    with np.load(path) as kept:
        parts = {key: kept[key] for key in kept.files}
    return {key: one if one.ndim else float(one) for key, one in parts.items()}


def dense(problem: Problem) -> Array:
    """From all n products, made symmetric: exact to rounding."""
    product = hessian64(problem)
    matrix = np.stack([product(row) for row in np.eye(problem.size)])
    return (matrix + matrix.T) / 2


def dense_ends(problem: Problem) -> Ends:
    """The whole spectrum."""
    matrix = dense(problem)
    values, vectors = np.linalg.eigh(matrix)
    order = np.argsort(-np.abs(values))
    residual = np.linalg.norm(matrix @ vectors - vectors * values, axis=0)
    worst = float((residual / np.abs(values))[order[:8]].max())
    return Ends(values[order], worst)


def sparse_ends(problem: Problem) -> Ends:
    """The eight eigenvalues of largest magnitude, each checked."""
    product, n = hessian64(problem), problem.size
    operator = LinearOperator((n, n), matvec=product, dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(n)
    values, vectors = eigsh(operator, k=8, which="LM", tol=1e-11, v0=start)
    residual = max(
        float(np.linalg.norm(product(v) - x * v) / abs(x))
        for x, v in zip(values, vectors.T, strict=True)
    )
    if residual > MOST_RESIDUAL:
        raise ArithmeticError(f"residual {residual:.1e}, wanted {MOST_RESIDUAL:.0e}")
    return Ends(values[np.argsort(-np.abs(values))], residual)


def dense_trace(problem: Problem) -> Trace:
    """The sum of the diagonal; a Rademacher probe has variance 2 Σ (off-diagonal)²."""
    matrix = dense(problem)
    off = matrix - np.diag(np.diag(matrix))
    return Trace(float(np.trace(matrix)), 0.0, float(np.sqrt(2 * np.sum(off**2))))


def pooled_trace(problem: Problem) -> Trace:
    """By Hutch++ (Meyer and others 2021) from many products.

    A third of the first probes makes a sketch of the range, and serves as Hutchinson's
    too; the rest estimates what the sketch leaves over.
    """
    product, n = hessian64(problem), problem.size
    draw = np.random.default_rng(1)
    signs = draw.choice([-1.0, 1.0], size=(SKETCH, n))
    images = np.stack([product(one) for one in signs])
    forms = np.einsum("ij,ij->i", signs, images)
    span = np.linalg.qr(images.T)[0]
    inner = sum(float(one @ product(one)) for one in span.T)
    left = []
    for _ in range(REST):
        probe = draw.choice([-1.0, 1.0], size=n)
        probe -= span @ (span.T @ probe)
        left.append(float(probe @ product(probe)))
    error = float(np.std(left, ddof=1) / np.sqrt(REST))
    return Trace(inner + float(np.mean(left)), error, float(np.std(forms, ddof=1)))


def hessian64(problem: Problem) -> Callable[[Array], Array]:
    """Products with the Hessian in float64, from one graph."""
    problem = problem.double()
    weights = list(problem.model.parameters())
    sizes = [one.numel() for one in weights]
    with sdpa_kernel(SDPBackend.MATH):
        loss = problems.loss_of(problem.model, problem.batch)
    gradient = torch.autograd.grad(loss, weights, create_graph=True)

    def product(vector: Array) -> Array:
        parts = torch.from_numpy(np.array(vector, np.float64).ravel()).split(sizes)
        shaped = [v.view_as(w) for v, w in zip(parts, weights, strict=True)]
        rows = torch.autograd.grad(gradient, weights, shaped, retain_graph=True)
        return torch.cat([row.reshape(-1) for row in rows]).numpy()

    return product


if __name__ == "__main__":
    torch.set_num_threads(1)
    for each in problems.ALL:
        print(each, ends(each), trace(each), flush=True)
