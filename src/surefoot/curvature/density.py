"""A symmetric operator comes in, the density of its whole spectrum goes out.

Stochastic Lanczos quadrature (Golub and Welsch 1969; Ubaru, Chen and Saad 2017): the
Lanczos matrix of a random start has the nodes and weights of a Gauss rule for the
spectrum as that start sees it; over random starts, the mean is the spectrum itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from surefoot.curvature.errors import CurvatureError
from surefoot.curvature.estimate import Estimate
from surefoot.curvature.krylov import Krylov, Numbers
from surefoot.curvature.matrix import Matrix, Multiplies, Probes, as_operator
from surefoot.types import Field

WIDTH = 0.01
"""Standard deviation of the smoothing, as a share of the spectrum's range: as narrow as
200 bins can show."""

BINS = 200
"""Of the grid."""

MARGIN = 5.0
"""The grid ends so many widths beyond the outermost nodes: nothing is cut off."""


@dataclass(frozen=True, slots=True)
class Density:
    """A spectrum of `size` eigenvalues, by quadrature and smoothed.

    Attributes:
        nodes: eigenvalues as each probe saw them, `[probes, steps]`, ascending.
        weights: the share of the spectrum at each, `[probes, steps]`; rows sum to 1.
        grid: eigenvalues at which the density is given, `[bins]`.
        density: its mean over the probes, `[bins]`; its integral is 1.
        errors: one standard error of the density, `[bins]`; 0 of a single probe, which
            tells none.
        width: standard deviation of the Gaussian it was smoothed with.
        size: number of eigenvalues.
        products: that it took.
    """

    nodes: Numbers
    weights: Numbers
    grid: Numbers
    density: Numbers
    errors: Numbers
    width: float
    size: int
    products: int

    def mean_of(self, values: npt.ArrayLike) -> Estimate:
        """The spectrum's mean of a function, given its values at the nodes.

        For `nodes < 0` it is the share of negative eigenvalues, for `nodes * size` the
        trace.

        >>> found = spectral_density(np.diag(np.linspace(-1.0, 3.0, 41)), steps=41)
        >>> abs(found.mean_of(found.nodes * found.size).value - 41) < 15
        True
        """
        each = (self.weights * np.asarray(values, dtype=float)).sum(axis=1)
        many = len(each) > 1
        error = each.std(ddof=1) / len(each) ** 0.5 if many else float("inf")
        return Estimate(
            float(each.mean()),
            float(error),
            self.products,
            "lanczos quadrature",
            kind="standard error",
            freedom=max(1, len(each) - 1),
        )

    def field(self, step: int, layer: str = "model", **about: Any) -> Field:
        """As it is recorded and drawn."""
        return spectrum_field(step, {layer: self}, about)


def spectral_density(
    operator: Multiplies,
    *,
    probes: int = 3,
    steps: int = 40,
    bins: int = BINS,
    seed: int = 0,
) -> Density:
    """The density of all eigenvalues, `probes` times `steps` products at most.

    Args:
        operator: symmetric `[n, n]`, anything with `@` and `.shape`.
        probes: random starts; their spread is the error.
        steps: of Lanczos for each; the ends of the spectrum come out sharp, what lies
            dense between them is smoothed.
        bins: of the grid.
        seed: of the probes.

    Raises:
        CurvatureError: the operator is not square or its products are not finite, or
            no probes, steps or bins.
    """
    if probes < 1 or steps < 1 or bins < 2:
        raise CurvatureError(
            f"{probes} probes, {steps} steps and {bins} bins came; expected at least "
            "1, 1 and 2"
        )
    matrix = as_operator(operator)
    before = matrix.products
    source = Probes(matrix, seed)
    rules = [_rule(matrix, source, steps) for _ in range(probes)]
    nodes, weights = _stacked(rules)
    grid, width = _grid(nodes, bins)
    each = _smoothed(nodes, weights, grid=grid, width=width)
    many = probes > 1
    return Density(
        nodes=nodes,
        weights=weights,
        grid=grid,
        density=each.mean(axis=0),
        errors=each.std(axis=0, ddof=1) / probes**0.5 if many else 0 * grid,
        width=width,
        size=matrix.size,
        products=matrix.products - before,
    )


def spectrum_field(
    step: int, densities: Mapping[str, Density], about: Mapping[str, Any] | None = None
) -> Field:
    """Spectra of several blocks on one grid, as they are recorded and drawn.

    `about` holds for each layer the outermost node ("top"), the largest standard error
    ("errors"), and the number of products of all.

    Raises:
        CurvatureError: no density.
    """
    if not densities:
        raise CurvatureError("no densities came; expected one for each layer")
    found = list(densities.values())
    grid, width = _grid(np.concatenate([one.nodes.ravel() for one in found]), BINS)
    rows = [
        _smoothed(one.nodes, one.weights, grid=grid, width=width).mean(axis=0)
        for one in found
    ]
    said = {
        "top": {name: [float(one.nodes.max())] for name, one in densities.items()},
        "errors": {name: float(one.errors.max()) for name, one in densities.items()},
        "products": sum(one.products for one in found),
        "width": width,
    }
    return Field(
        step=step,
        kind="spectrum",
        axes={"layer": list(densities), "eigenvalue": grid.tolist()},
        values=np.array(rows, dtype=np.float32),
        about={**said, **(about or {})},
    )


def _rule(matrix: Matrix, probes: Probes, steps: int) -> tuple[Numbers, Numbers]:
    """Nodes and weights of the Gauss rule of one random start."""
    krylov = Krylov(matrix, probes.gaussian(), probes)
    for _ in range(min(steps, matrix.size)):
        krylov.grow()
        if krylov.ended:
            break
    ritz = krylov.ritz()
    return ritz.values, ritz.shares[0] ** 2


def _stacked(rules: list[tuple[Numbers, Numbers]]) -> tuple[Numbers, Numbers]:
    """Rows of one length; where a rule ended early, nodes of weight 0 fill it up."""
    longest = max(len(nodes) for nodes, _ in rules)
    nodes = [np.pad(one, (0, longest - len(one)), mode="edge") for one, _ in rules]
    weights = [np.pad(one, (0, longest - len(one))) for _, one in rules]
    return np.array(nodes), np.array(weights)


def _grid(nodes: Numbers, bins: int) -> tuple[Numbers, float]:
    """Points of the grid, and the width of the smoothing."""
    low, high = float(nodes.min()), float(nodes.max())
    extent = high - low or max(abs(high), 1.0)
    width = WIDTH * extent
    return np.linspace(low - MARGIN * width, high + MARGIN * width, bins), width


def _smoothed(
    nodes: Numbers, weights: Numbers, *, grid: Numbers, width: float
) -> Numbers:
    """Density of each probe on the grid, `[probes, bins]`."""
    away = (grid[:, None] - nodes[:, None, :]) / width
    bells = np.exp(-(away**2) / 2) / (width * (2 * np.pi) ** 0.5)
    return np.einsum("pbs,ps->pb", bells, weights)
