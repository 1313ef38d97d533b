"""Symmetric matrices with a given spectrum, and strategies that draw hard ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor


def symmetric(
    spectrum: Sequence[float] | np.ndarray,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """`[n, n]` with these eigenvalues, and eigenvectors drawn uniformly."""
    size = len(spectrum)
    noise = np.random.default_rng(10_000 + seed).standard_normal((size, size))
    vectors = np.linalg.qr(noise)[0]
    matrix = (vectors * np.asarray(spectrum, dtype=float)) @ vectors.T
    return torch.tensor((matrix + matrix.T) / 2, dtype=dtype)


def true_values(matrix: Tensor) -> np.ndarray:
    """All eigenvalues, descending."""
    return np.linalg.eigvalsh(matrix.double().numpy())[::-1]


class Counting:
    """A matrix as an operator that counts: nothing but `@`, shape and dtype."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix
        self.shape = tuple(matrix.shape)
        self.dtype = matrix.dtype
        self.products = 0

    def __matmul__(self, other: Tensor) -> Tensor:
        self.products += 1 if other.ndim == 1 else other.shape[1]
        return self.matrix @ other


def _clustered(centres: list[float]) -> list[float]:
    return [centre + step * 1e-4 for centre in centres for step in range(3)]


VALUES = st.floats(-10, 10, allow_subnormal=False)
SPECTRA = st.one_of(
    st.lists(VALUES, min_size=1, max_size=25),
    st.lists(VALUES, min_size=1, max_size=8).map(_clustered),
    st.lists(st.sampled_from([-2.0, 0.0, 1.0, 5.0]), min_size=1, max_size=20),
    st.lists(st.floats(-10, -1e-3), min_size=1, max_size=20),
    st.integers(1, 30).map(lambda size: [0.0] * size),
    st.tuples(VALUES, st.integers(0, 30)).map(lambda two: [two[0], *[0.0] * two[1]]),
    st.integers(2, 30).map(lambda size: list(np.logspace(0, -8, size))),
)
"""Plain, clustered, repeated, negative, zero, of low rank, decaying."""
