"""Robust statistics of one run's own history: arrays come in, levels and steps go out.

All are vectorised over steps, and none raises or warns on series that are short,
constant, full of holes, or not finite.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

CONFIDENCE = 0.95
"""Of the intervals that are stated."""

TO_SIGMA = 1.4826
"""Median absolute deviation to standard deviation, for a Gaussian (Huber 1981)."""


def finite(values: npt.ArrayLike) -> Array:
    """The finite values, flattened, as float64."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    return flat[np.isfinite(flat)]


def level(values: npt.ArrayLike, otherwise: float = 0.0) -> float:
    """Median of the finite values; `otherwise` where there are none.

    >>> level([1.0, 2.0, 900.0, float("nan")])
    2.0
    """
    found = finite(values)
    return float(np.median(found)) if found.size else otherwise


def scale(values: npt.ArrayLike) -> float:
    """Robust standard deviation (MAD) of the finite values, 0 where there are none."""
    found = finite(values)
    if found.size == 0:
        return 0.0
    return TO_SIGMA * float(np.median(np.abs(found - np.median(found))))


def noise(values: npt.ArrayLike) -> float:
    """Robust standard deviation of step-to-step noise, blind to slow trends.

    From the differences of neighbours, whose deviation is √2 that of the noise.
    """
    found = finite(values)
    if found.size < 3:
        return 0.0
    return scale_about_zero(np.diff(found)) / np.sqrt(2.0)


def scale_about_zero(values: Array) -> float:
    """Robust standard deviation of values whose mean is known to be zero."""
    return TO_SIGMA * float(np.median(np.abs(values))) if values.size else 0.0


def median_over_time(values: Array) -> Array:
    """Median over the first axis without NaN: shape `[n, k]` to `[k]`, NaN if empty.

    Much faster than `np.nanmedian` on many columns.
    """
    if values.shape[0] == 0:
        return np.full(values.shape[1:], np.nan)
    ordered = np.sort(values, axis=0)  # NaN go to the end
    count = np.sum(~np.isnan(ordered), axis=0)
    low = np.maximum((count - 1) // 2, 0)
    high = np.maximum(count // 2, 0)
    high = np.minimum(high, np.maximum(count - 1, 0))
    columns = np.arange(values.shape[1])
    return 0.5 * (ordered[low, columns] + ordered[high, columns])


def blocks(values: Array, width: int) -> Array:
    """Values cut into blocks: `[n]` to `[ceil(n / width), width]`, NaN-padded."""
    count = -(-values.size // width)
    padded = np.full(count * width, np.nan)
    padded[: values.size] = values
    return padded.reshape(count, width)


def block_levels(values: Array, width: int) -> Array:
    """Median of each block, non-finite values left out; shape `[ceil(n / width)]`.

    The last block is joined with the one before it if it is less than half full.
    """
    if values.size == 0:
        return np.empty(0)
    rows = blocks(np.where(np.isfinite(values), values, np.nan), width)
    levels = median_over_time(rows.T)
    tail = values.size % width
    if 0 < tail < width / 2 and len(levels) > 1:
        levels = levels[:-1]
    return levels


def trailing(values: Array, window: int, stride: int = 10) -> tuple[Array, Array]:
    """Level and scale of the `window` values before each step, both `[n]`.

    Computed once a `stride`, from values before the stride begins, so a jump is
    compared with what went before it. NaN where fewer than `stride` values precede.
    """
    n = values.size
    starts = np.arange(0, n, stride)
    index = starts[:, None] - 1 - np.arange(window)[None, :]
    clean = np.where(np.isfinite(values), values, np.nan)
    rows = np.where(index >= 0, clean[np.maximum(index, 0)], np.nan)
    middle = median_over_time(rows.T)
    spread = TO_SIGMA * median_over_time(np.abs(rows - middle[:, None]).T)
    early = starts < stride
    middle[early], spread[early] = np.nan, np.nan
    repeat = np.minimum(stride, n - starts)
    return np.repeat(middle, repeat), np.repeat(spread, repeat)


def trailing_top(values: Array, window: int, stride: int = 10) -> Array:
    """Largest of the `window` values before each step, `[n]`; NaN where none precede.

    In strides, as `trailing`.
    """
    n = values.size
    starts = np.arange(0, n, stride)
    index = starts[:, None] - 1 - np.arange(window)[None, :]
    clean = np.where(np.isfinite(values), values, -np.inf)
    top = np.where(index >= 0, clean[np.maximum(index, 0)], -np.inf).max(axis=1)
    top = np.where(np.isfinite(top), top, np.nan)
    return np.repeat(top, np.minimum(stride, n - starts))


def episodes(mask: Mask, gap: int) -> list[tuple[int, int]]:
    """Runs of True as (first, last) positions; runs closer than `gap` are joined.

    >>> episodes(np.array([0, 1, 1, 0, 0, 0, 1, 0, 1], dtype=bool), gap=2)
    [(1, 2), (6, 8)]
    """
    places = np.flatnonzero(mask)
    if places.size == 0:
        return []
    cuts = np.flatnonzero(np.diff(places) > gap)
    firsts = np.concatenate([places[:1], places[cuts + 1]])
    lasts = np.concatenate([places[cuts], places[-1:]])
    return [(int(a), int(b)) for a, b in zip(firsts, lasts, strict=True)]


def since(mask: Mask) -> int | None:
    """First position from which `mask` holds to the end, or None.

    >>> since(np.array([1, 0, 1, 1], dtype=bool))
    2
    """
    if mask.size == 0 or not mask[-1]:
        return None
    broken = np.flatnonzero(~mask)
    return int(broken[-1]) + 1 if broken.size else 0


def slope(values: Array) -> tuple[float, float]:
    """Least-squares slope over the positions, and its t value (0 if undefined)."""
    places = np.flatnonzero(np.isfinite(values)).astype(np.float64)
    if places.size < 4:
        return 0.0, 0.0
    y = values[np.isfinite(values)]
    x = places - places.mean()
    size = float(np.max(np.abs(y)))
    if size == 0.0:
        return 0.0, 0.0
    y = y / size
    spread = float(x @ x)
    rise = float(x @ (y - y.mean())) / spread
    left = y - y.mean() - rise * x
    error = np.sqrt(float(left @ left) / (places.size - 2) / spread)
    return rise * size, rise / error if error > 0 else float(np.sign(rise)) * 1e9


def ratio(value: float, reference: float) -> float:
    """Quotient of two sizes; inf over zero, and 1 where both are zero."""
    if reference == 0.0:
        return 1.0 if value == 0.0 else float("inf")
    return value / reference


def root_sum_square(rows: npt.NDArray[np.floating]) -> Array:
    """2-norm of each row, NaN counted as zero: shape `[n, k]` to `[n]`, float64."""
    clean = np.where(np.isnan(rows), 0, rows)
    return np.sqrt(np.einsum("ij,ij->i", clean, clean, dtype=np.float64))


def t_limit(freedom: int, confidence: float = CONFIDENCE) -> float:
    """Two-sided limit of Student's t, found by bisection on its distribution.

    Args:
        freedom: degrees of freedom, 1 or more.
        confidence: probability of lying within the limit on either side.

    >>> [round(t_limit(n), 3) for n in (2, 4, 9)]
    [4.303, 2.776, 2.262]
    """
    target = (1 + confidence) / 2
    low, high = 0.0, 1e3
    for _ in range(60):
        middle = (low + high) / 2
        if _t_probability(middle, freedom) < target:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _t_probability(t: float, freedom: int) -> float:
    """P(T <= t), exact: with θ = atan(t/√ν) the integrand is cos^(ν-1) θ."""
    angle = math.atan(t / math.sqrt(freedom))
    theta = np.linspace(0.0, angle, 4001)
    area = float(np.trapezoid(np.cos(theta) ** (freedom - 1), theta))
    log_scale = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)
    return 0.5 + area * math.exp(log_scale) / math.sqrt(math.pi)
