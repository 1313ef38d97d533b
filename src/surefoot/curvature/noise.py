"""Gradient noise: gradients of micro-batches come in, noise scale and GSNR go out.

Micro-batch i has b_i samples and the gradient g_i = G + noise of covariance Σ/b_i,
where G is the gradient over all data and Σ the covariance of one sample's gradient.

- Noise scale (McCandlish et al. 2018, arXiv 1812.06162): B = tr Σ / |G|², in samples.
  Batches far below it waste no samples, batches far above it save few steps.
- GSNR (Liu et al. 2020, arXiv 2001.07384): G_j² / Σ_jj of each parameter, per sample.

Both are made of estimates without bias, and their errors are found by leaving out one
micro-batch after another (jackknife).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from surefoot.curvature.batches import Batches, held, samples
from surefoot.curvature.errors import CurvatureError
from surefoot.curvature.estimate import Estimate
from surefoot.curvature.losses import with_graph
from surefoot.curvature.space import Where, space
from surefoot.restore.still import still
from surefoot.types import LossFunction

LEAST_FOR_SCALE = 3
"""Micro-batches: leaving one out must leave two, which have a variance."""

LEAST_FOR_GSNR = 5
"""The mean of 1/s² over n normal values is (n−1)/(n−3) of 1/σ²: it needs n ≥ 4 with
one left out."""


@dataclass(frozen=True, slots=True, eq=False)
class Gradients:
    """Gradients of micro-batches: `rows` `[m, n]`, and `sizes`, the samples of each."""

    rows: Tensor
    sizes: tuple[int, ...]
    slices: Mapping[str, slice]

    @property
    def weights(self) -> Tensor:
        """The sizes as float64, shape `[m]`."""
        return torch.tensor(self.sizes, dtype=torch.float64)


@dataclass(frozen=True, slots=True)
class NoiseScale:
    """The noise scale and what it is made of.

    `scale` is tr Σ / |G|² in samples, `noise` is tr Σ of one sample, `signal` is |G|².
    """

    scale: Estimate
    noise: Estimate
    signal: Estimate


def micro_gradients(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    loss_fn: LossFunction,
    where: Where = None,
    training: bool | None = None,
) -> Gradients:
    """The gradient of each micro-batch; the model and its `.grad` stay as they are.

    Takes memory for one gradient a micro-batch. Where samples of a batch see each
    other (BatchNorm in training mode) Σ is that of micro-batches of this size.

    Args:
        model: whose gradients are taken.
        batches: micro-batches of independent samples; `parts` cuts one batch.
        loss_fn: the mean loss of a batch.
        where: parameters, as in `space`.
        training: the mode of all modules; None leaves each in its own.

    Raises:
        CurvatureError: no batch, a batch without samples, or a loss without a graph.
    """
    here = space(model, where)
    rows: list[Tensor] = []
    sizes: list[int] = []
    for batch in held(Batches(batches)):
        with still(model, training=training):
            loss = with_graph(loss_fn(model, batch))
            found = torch.autograd.grad(loss, here.tensors, allow_unused=True)
        rows.append(here.flat(found).detach())
        sizes.append(samples(batch))
    return Gradients(torch.stack(rows), tuple(sizes), here.slices)


def noise_scale(gradients: Gradients) -> NoiseScale:
    """The simple noise scale tr Σ / |G|², in samples, with jackknife errors.

    tr Σ is estimated by Σ b_i‖g_i − ḡ‖²/(m−1) and |G|² by ‖ḡ‖² − tr Σ/N: both without
    bias, for micro-batches of any sizes.

    Raises:
        CurvatureError: fewer than three micro-batches.

    >>> rows = torch.tensor([[1.0, 0.0], [3.0, 0.0], [2.0, 1.0], [2.0, -1.0]])
    >>> found = noise_scale(Gradients(rows, (8,) * 4, {"weight": slice(0, 2)}))
    >>> round(found.noise.value, 2), round(found.signal.value, 2)
    (10.67, 3.67)
    """
    count = len(gradients.sizes)
    _enough(count, LEAST_FOR_SCALE)
    products, weights = _inner(gradients.rows, gradients.weights), gradients.weights
    full = _moments(products, weights)
    left = [
        _moments(_without(products, i), torch.cat([weights[:i], weights[i + 1 :]]))
        for i in range(count)
    ]
    noise, signal = (
        _estimate(full[i], [one[i] for one in left], count) for i in (0, 1)
    )
    ratios = [_ratio(*one) for one in left]
    return NoiseScale(_scale(_ratio(*full), ratios, signal), noise, signal)


def noise_scale_of_norms(
    small: Sequence[float], big: Sequence[float], *, sizes: tuple[int, int]
) -> NoiseScale:
    """The noise scale from squared norms at two batch sizes (McCandlish, appendix A.1).

    What data-parallel training has for nothing: `small` are squared norms of one
    rank's gradient, `big` those of the reduced gradient, step by step.

    Args:
        small: squared gradient norms at the smaller batch size, one a step.
        big: the same at the larger one, at the same steps.
        sizes: samples in the smaller and in the larger batch.

    Raises:
        CurvatureError: fewer than two steps, unequal lengths, or sizes out of order.

    >>> found = noise_scale_of_norms([5.0, 5.2], [2.0, 2.2], sizes=(10, 40))
    >>> round(found.scale.value, 1)
    36.4
    """
    if len(small) != len(big) or len(small) < 2:
        raise CurvatureError(
            f"{len(small)} norms of small and {len(big)} of big batches came; "
            "expected the same number of both, two or more"
        )
    if not 0 < sizes[0] < sizes[1]:
        raise CurvatureError(f"sizes are {sizes}; expected the smaller one first")
    steps = torch.tensor([list(small), list(big)], dtype=torch.float64)
    full, count = _two_sizes(steps.mean(1), sizes), len(small)
    left = [
        _two_sizes((steps.sum(1) - steps[:, i]) / (count - 1), sizes)
        for i in range(count)
    ]
    noise, signal = (
        _estimate(full[i], [one[i] for one in left], count, "steps") for i in (0, 1)
    )
    ratios = [_ratio(*one) for one in left]
    return NoiseScale(_scale(_ratio(*full), ratios, signal), noise, signal)


def signal_to_noise(gradients: Gradients) -> Mapping[str, Estimate]:
    """GSNR of each parameter tensor: the mean of G_j²/Σ_jj over its elements.

    Per sample: a micro-batch of b samples has b times as much. The plug-in ratio
    ḡ²/s² is too large by its own noise; for normal gradients
    (m−3)/(m−1)·ḡ²/s² − 1/N has no bias. Elements whose gradient never varies (of dead
    units, say) have no ratio and are left out; `note` counts them.

    Raises:
        CurvatureError: fewer than five micro-batches.
    """
    count = len(gradients.sizes)
    _enough(count, LEAST_FOR_GSNR)
    mean, spread = _mean_and_spread(gradients)
    ratios = _gsnr(mean, spread, count=count, total=sum(gradients.sizes))
    left = [_ratios_without(gradients, i, moments=(mean, spread)) for i in range(count)]
    return {
        name: _layer(ratios[part], [one[part] for one in left], _of(gradients, part))
        for name, part in gradients.slices.items()
    }


def signal_to_noise_of_elements(gradients: Gradients) -> Tensor:
    """GSNR of each parameter, shape `[n]`, without bias for normal gradients.

    NaN where the gradient never varies. Single values are noisy, and may be negative:
    only means over many parameters mean something.

    Raises:
        CurvatureError: fewer than five micro-batches.
    """
    count = len(gradients.sizes)
    _enough(count, LEAST_FOR_GSNR)
    mean, spread = _mean_and_spread(gradients)
    return _gsnr(mean, spread, count=count, total=sum(gradients.sizes))


def parts(batch: Any, count: int) -> list[Any]:
    """Cut a batch into `count` micro-batches along the first axis of its tensors.

    Raises:
        CurvatureError: it holds fewer samples than that.

    >>> [len(one["x"]) for one in parts({"x": torch.zeros(7, 2)}, 3)]
    [3, 2, 2]
    """
    size = samples(batch)
    if not 0 < count <= size:
        raise CurvatureError(f"cannot cut a batch of {size} samples into {count} parts")
    ends = [size // count * i + min(i, size % count) for i in range(count + 1)]
    return [
        pytree.tree_map_only(Tensor, _rows(size, slice(start, end)), batch)
        for start, end in pairwise(ends)
    ]


# --- moments --------------------------------------------------------------------


def _inner(rows: Tensor, weights: Tensor) -> Tensor:
    """Inner products of mean and centred gradients, float64, `[m+1, m+1]`, mean first.

    Centred before they are multiplied: where the signal is far above the noise, the
    noise would be lost in the last digits of g_i·g_j.
    """
    share = (weights / weights.sum()).to(rows)
    mean = share @ rows
    both = torch.cat([mean[None], rows - mean])
    return (both @ both.T).double().cpu()


def _without(products: Tensor, left_out: int) -> Tensor:
    keep = [i for i in range(len(products)) if i != left_out + 1]
    return products[keep][:, keep]


def _moments(products: Tensor, weights: Tensor) -> tuple[float, float]:
    """Estimates of tr Σ and |G|² without bias.

    The rows were centred on the mean of all; with one left out their mean is moved.
    """
    total, share = weights.sum(), weights / weights.sum()
    centred, along = products[1:, 1:], products[0, 1:]
    moved = share @ centred @ share
    squares = (weights * centred.diagonal()).sum() - total * moved
    noise = squares / (len(weights) - 1)
    square = products[0, 0] + 2 * share @ along + moved
    return float(noise), float(square - noise / total)


def _two_sizes(means: Tensor, sizes: tuple[int, int]) -> tuple[float, float]:
    """The noise tr Σ and |G|² from E|g_b|² = |G|² + tr Σ/b at two sizes b."""
    (small, big), (few, many) = means.tolist(), sizes
    noise = (small - big) / (1 / few - 1 / many)
    return noise, (many * big - few * small) / (many - few)


def _ratio(noise: float, signal: float) -> float:
    return noise / signal if signal > 0 else math.inf


def _mean_and_spread(gradients: Gradients) -> tuple[Tensor, Tensor]:
    """Weighted mean, and weighted squares around it, each `[n]`."""
    weights = gradients.weights.to(gradients.rows)
    mean = (weights / weights.sum()) @ gradients.rows
    return mean, weights @ (gradients.rows - mean).square()


def _gsnr(mean: Tensor, spread: Tensor, *, count: int, total: float) -> Tensor:
    """(m−3)/(m−1)·ḡ²/s² − 1/N, NaN where s is 0."""
    variance = spread / (count - 1)
    plain = (count - 3) / (count - 1) * mean.square() / variance - 1 / total
    return torch.where(variance > 0, plain, torch.nan)


def _ratios_without(
    gradients: Gradients, left_out: int, *, moments: tuple[Tensor, Tensor]
) -> Tensor:
    """GSNR without one micro-batch, `[n]`, from the moments of all."""
    mean, spread = moments
    total, size = sum(gradients.sizes), gradients.sizes[left_out]
    away = gradients.rows[left_out] - mean
    rest = total - size
    smaller = (spread - size * total / rest * away.square()).clamp(min=0)
    return _gsnr(
        mean - size / rest * away, smaller, count=len(gradients.sizes) - 1, total=rest
    )


# --- errors ---------------------------------------------------------------------


def jackknife(without: Sequence[float]) -> float:
    """One standard error, from the values that come with one observation left out.

    >>> jackknife([1.5, 2.0, 2.5])
    0.577...
    """
    values = torch.tensor(list(without), dtype=torch.float64)
    count = len(values)
    return float(((count - 1) * values.var(correction=0)).sqrt())


def _estimate(
    value: float, without: Sequence[float], count: int, of: str = "micro-batches"
) -> Estimate:
    return Estimate(
        value, jackknife(without), products=0, method=f"jackknife over {count} {of}",
        kind="standard error", freedom=count - 1,
    )  # fmt: skip


def _scale(value: float, without: Sequence[float], signal: Estimate) -> Estimate:
    """The ratio; not converged where the gradient is not told from its noise."""
    clear = signal.value > 2 * signal.error
    error = jackknife(without) if math.isfinite(max(without)) else math.inf
    note = "" if clear else (
        "|G|² is not told from its noise: take more, or larger, micro-batches"
    )  # fmt: skip
    return Estimate(
        value, error, products=0, method=signal.method, kind="standard error",
        freedom=signal.freedom, converged=clear and math.isfinite(error), note=note,
    )  # fmt: skip


def _of(gradients: Gradients, part: slice) -> Gradients:
    """The gradients of one tensor."""
    return Gradients(gradients.rows[:, part], gradients.sizes, {})


def _around_zero(gradients: Gradients) -> float:
    """The error of a mean of (ḡ_j/σ_j)² where all means are zero.

    √2/N for one element, or for elements that go together; over n independent ones it
    is 1/√n of that. In between it goes with the mean of their squared correlations.
    """
    mean, spread = _mean_and_spread(gradients)
    scaled = torch.where(spread > 0, (gradients.rows - mean) / spread.sqrt(), 0.0)
    weighted = scaled * gradients.weights.to(scaled).sqrt()[:, None]
    varies = int((spread > 0).sum())
    together = float((weighted @ weighted.T).double().square().sum()) / varies**2
    return math.sqrt(2 * together) / sum(gradients.sizes)


def _layer(ratios: Tensor, without: Sequence[Tensor], gradients: Gradients) -> Estimate:
    """The mean over one tensor's elements, and its jackknife error.

    Where a mean gradient is next to nothing by chance, leaving one out hardly changes
    its square: the error is at least that around zero.
    """
    sizes = gradients.sizes
    varies = ~ratios.isnan()
    constant = int((~varies).sum())
    value = float(ratios.nanmean())
    scatter = jackknife([float(one[varies].nanmean()) for one in without])
    known = not math.isnan(scatter)
    error = max(scatter, _around_zero(gradients)) if known else math.nan
    note = f"{constant} of {len(ratios)} gradients never vary" if constant else ""
    return Estimate(
        value, error, products=0, kind="standard error", freedom=len(sizes) - 1,
        method=f"jackknife over {len(sizes)} micro-batches",
        converged=math.isfinite(error), note=note,
    )  # fmt: skip


def _enough(count: int, least: int) -> None:
    if count < least:
        raise CurvatureError(
            f"{count} micro-batches came; expected {least} or more, as the error is "
            "found by leaving one out: cut the batch into more parts"
        )


# --- batches --------------------------------------------------------------------


def _rows(size: int, part: slice) -> Callable[[Tensor], Tensor]:
    """Cut tensors with one row a sample; others go to each part as they are."""
    return lambda leaf: leaf[part] if leaf.ndim and len(leaf) == size else leaf
