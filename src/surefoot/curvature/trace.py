"""A symmetric operator comes in, its trace with a standard error goes out.

Hutchinson (1990): the mean of zᵀAz over random z is the trace; its variance is that of
the eigenvalues' squares. Where few eigenvalues dominate, a basis that holds them is
traced exactly and only the rest is estimated: the basis of Lanczos (`auto`, `lanczos`),
one made of random products (`hutch++`: Meyer and others 2021), or one for each probe,
made of all others (`xtrace`: Epperly, Tropp and Webber 2024).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch

from surefoot.curvature.deflated import Deflated, Spread, sphere_variance
from surefoot.curvature.errors import CurvatureError, NotFiniteError
from surefoot.curvature.estimate import Estimate
from surefoot.curvature.krylov import Krylov
from surefoot.curvature.lanczos import first_vector
from surefoot.curvature.left_out import LeftOut
from surefoot.curvature.matrix import Matrix, Multiplies, Probes, as_operator

Method = Literal["auto", "hutchinson", "xtrace", "hutch++", "lanczos"]

LEAST = 5
"""Probes at least, so that a standard error can be told."""

PILOT = 10
"""Probes before it is decided whether deflation pays, and to the next decision."""

PAYS = 0.7
"""Deflation pays where no more than this share of the products is unexplained by each
other: 0.06 to 0.5 on networks and decaying spectra, 0.9 to 1 on flat ones."""

CHECKS = 3
"""Where deflation has not paid after so many pilots, it is not asked again, and no
probe is kept."""

CORRELATED = 2.0
"""XTrace's terms share their probes: over 300 draws the true variance was 1.1 to 1.4
times (flat spectrum) and 1.9 to 2.0 times (decaying) that of independent terms."""

STEPS = 3
"""Steps of the basis whose gain is averaged: single ones vary."""


def trace(
    operator: Multiplies,
    *,
    tolerance: float = 0.05,
    most_products: int = 100,
    method: Method = "auto",
    seed: int = 0,
) -> Estimate:
    """The sum of all eigenvalues, with one standard error.

    `auto` begins with Hutchinson's probes. Where their products explain each other, few
    eigenvalues dominate: then each product goes where it lowers the error more, to the
    basis of Lanczos or to one more probe, and no earlier product is lost.

    Args:
        operator: symmetric `[n, n]`, anything with `@` and `.shape`.
        tolerance: standard error to stop at, relative to the trace (xtrace and hutch++
            take all products).
        most_products: products at most. Up to as many vectors are held in memory, three
            times as many by xtrace.
        method: how; see above.
        seed: of the probes.

    Raises:
        CurvatureError: the operator is not square, or the numbers do not fit.
        NotFiniteError: its products are not finite.

    >>> found = trace(torch.diag(torch.tensor([9.0, 1.0, 1.0, 1.0])))
    >>> found.value, found.error, found.products
    (12.0, 0.0, 4)
    """
    matrix = as_operator(operator)
    if most_products < LEAST or not tolerance > 0:
        raise CurvatureError(
            f"{most_products} products at most and tolerance {tolerance} came; "
            f"expected {LEAST} or more, and a relative error above 0"
        )
    if matrix.size <= min(PILOT, most_products):
        return _exact(matrix)
    before = matrix.products
    spread = Spread(float("nan"), float("inf"), 1)
    for spread in _spreads(
        operator, matrix, method=method, most=most_products, seed=seed
    ):
        if spread.error <= tolerance * abs(spread.value):
            break
    if not math.isfinite(spread.value):
        raise NotFiniteError(
            "the products with the operator hold NaN or infinity; expected finite "
            "numbers; check the weights and the loss, or compute in float32"
        )
    met = spread.error <= tolerance * abs(spread.value)
    return Estimate(
        spread.value,
        spread.error,
        matrix.products - before,
        f"{method}: {spread.way}" if method == "auto" else method,
        kind="standard error",
        freedom=spread.samples - 1,
        converged=met,
        note="" if met else _why(spread, tolerance),
    )


def _why(spread: Spread, tolerance: float) -> str:
    return (
        f"standard error {spread.error:.2g} of {spread.value:.4g}, tolerance "
        f"{tolerance:g} of it not met; allow more products"
    )


def _exact(matrix: Matrix) -> Estimate:
    """The sum of the diagonal, of a small matrix."""
    unit = torch.eye(matrix.size, dtype=matrix.dtype, device=matrix.device)
    value = float((matrix @ unit).diagonal().sum())
    return Estimate(value, 0.0, matrix.size, "exact", kind="standard error")


def _spreads(
    operator: Multiplies, matrix: Matrix, *, method: Method, most: int, seed: int
) -> Iterator[Spread]:
    """What is known of the trace, as products are made."""
    probes = Probes(matrix, seed)
    if method == "xtrace":
        yield _xtrace(matrix, probes, most)
        return
    if method == "hutch++":
        yield _hutch(matrix, probes, most)
        return
    # The basis must not depend on the probes that it deflates.
    start = Probes(matrix, seed + 1_000_003)
    basis = Krylov(matrix, first_vector(operator, None, start), start)
    known = Deflated(matrix, basis, probes)
    gains: list[float] = []
    for _ in range(most):
        if _pays(known, method, gains=gains, most=most):
            earlier = known.spread().variance
            known.deflate()
            later = known.spread().variance
            gains.append(later / earlier if earlier > 0 else 1.0)
        else:
            known.sample()
        if _is_decided(known, method):
            known.forget()
        if known.samples >= LEAST:
            yield known.spread()


def _pays(known: Deflated, method: Method, *, gains: list[float], most: int) -> bool:
    """Whether the next product lowers the error more in the basis than as a probe."""
    count, size = known.samples, known.basis.size
    if method == "hutchinson" or known.basis.whole:
        return False
    if method == "lanczos":
        return count >= LEAST and size < most // 2
    if size == 0:
        due = count > 0 and count % PILOT == 0 and known.kept
        return due and known.unexplained() <= PAYS
    gain = float(np.prod(gains[-STEPS:])) ** (1 / STEPS)
    return size < STEPS or gain < count / (count + 1)


def _is_decided(known: Deflated, method: Method) -> bool:
    """Whether the basis will never be begun."""
    late = method == "auto" and known.samples > CHECKS * PILOT
    return not known.basis.size and (late or method == "hutchinson")


def _xtrace(matrix: Matrix, probes: Probes, most: int) -> Spread:
    count = min(most // 2, matrix.size)
    tests = torch.stack([probes.sphere() for _ in range(count)], dim=1)
    products = matrix @ tests
    left = LeftOut(products)
    second = matrix @ left.basis
    within = (left.basis.T @ second).double().cpu()
    gram = (second.T @ second).double().cpu()
    plain = (tests * products).sum(0).double().cpu()
    inside = left.without((left.basis.T @ tests).double().cpu())
    held = within.trace() - (left.alone * (within @ left.alone)).sum(0)
    values = (
        plain - 2 * (inside * left.factor).sum(0) + (inside * (within @ inside)).sum(0)
    )
    # What A leaves of each probe outside the others' range, and how long it is there.
    rest = left.factor - within @ inside
    length = left.factor.square().sum(0) + (inside * (gram @ inside)).sum(0)
    length -= 2 * (inside * (within.T @ left.factor)).sum(0)
    squares = (length - left.without(rest).square().sum(0)).clamp(min=0.0)
    free = matrix.size - count + 1
    scale = free / (matrix.size - inside.square().sum(0))
    values, squares = values * scale, (squares * scale).numpy()
    variance = sphere_variance(squares, float(values.mean()), free)
    return Spread(float((held + values).mean()), CORRELATED * variance, count)


def _hutch(matrix: Matrix, probes: Probes, most: int) -> Spread:
    count = min(most // 3, matrix.size)
    tests = torch.stack([probes.sphere() for _ in range(count)], dim=1)
    basis = torch.linalg.qr(matrix @ tests)[0]
    held = float((basis * (matrix @ basis)).sum(dtype=torch.float64))
    free = matrix.size - count
    if not free:
        return Spread(held, 0.0, count)
    fresh = torch.stack([probes.gaussian() for _ in range(most - 2 * count)], dim=1)
    for _ in range(2):
        fresh = fresh - basis @ (basis.T @ fresh)
    fresh = fresh * (free**0.5 / fresh.norm(dim=0))
    products = matrix @ fresh
    outside = products - basis @ (basis.T @ products)
    values = (fresh * products).sum(0).double().cpu().numpy()
    squares = outside.square().sum(0).double().cpu().numpy()
    rest = float(values.mean())
    return Spread(held + rest, sphere_variance(squares, rest, free), len(values))
