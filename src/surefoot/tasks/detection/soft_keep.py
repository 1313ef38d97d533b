"""Boxes and scores come in, how far each box is kept goes out, with gradients.

keep_i = Π_{j<i} (1 − keep_j σ((IoU_ij − τ)/T)), boxes by falling score. It must be
recursive: a box that is itself suppressed must not suppress others (Kumar et al. 2021,
arXiv 2103.17202, who solve a linear system instead, which lifts scores it should not).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from surefoot.tasks.detection.boxes import (
    BoxError,
    Overlaps,
    check_boxes,
    check_classes,
    floating,
)
from surefoot.tasks.detection.suppress import check_threshold

BLOCK = 64
"""Ranks that are solved together: on one CPU thread 1,000 boxes take least time with
32 to 128 (benchmarks/blocks/detection.py)."""

TINY = 1e-30
"""The least factor of a product. One that is 0 can then still be divided out, which
gives the product of the others."""


def differentiable_nms(
    boxes: Tensor,
    scores: Tensor,
    *,
    threshold: float = 0.5,
    temperature: float = 0.05,
    classes: Tensor | None = None,
) -> Tensor:
    """How far each box is kept, 0 to 1: non-maximum suppression with a slope.

    As T goes to 0, greedy suppression. `scores * differentiable_nms(boxes, scores)`
    are the scores to train with. Gradients flow to the boxes through their overlaps;
    **they stop at the sort**: the scores decide the order, which has no slope, so that
    a gradient reaches them only where they are multiplied with the result.

    Args:
        boxes: `[..., n, 4]` as (x1, y1, x2, y2).
        scores: `[..., n]`. Equal ones count in the order of the boxes.
        threshold: τ, the overlap at which a box is half suppressed.
        temperature: T, how soft that is, in units of overlap. Boxes that do not touch
            are kept 1 − σ(−τ/T) each: at T = 0.05 and τ = 0.5, 1 − 4.5e-5.
        classes: `[..., n]` integers; only boxes of one class suppress each other.

    Returns:
        `[..., n]`, in the order of the boxes, in float32 at least. It can be
        differentiated once. Time grows with n², memory with 64 n.

    Raises:
        BoxError: shapes that do not fit, a threshold outside 0 to 1, a temperature that
            is not positive.

    >>> chain = torch.tensor([[0.0, 0, 10, 1], [3, 0, 13, 1], [6, 0, 16, 1]])
    >>> scores = torch.tensor([0.9, 0.8, 0.7])
    >>> differentiable_nms(chain, scores, threshold=0.4)
    tensor([1.0000, 0.0590, 0.8997])
    """
    check_boxes(boxes, scores)
    check_classes(scores, classes)
    check_threshold(threshold)
    if not (temperature > 0 and math.isfinite(temperature)):
        raise BoxError(f"temperature={temperature!r} came; expected a positive number")
    order = scores.detach().argsort(dim=-1, descending=True, stable=True)
    ranked = floating(boxes).gather(-2, order[..., None].expand(boxes.shape))
    group = None if classes is None else classes.gather(-1, order)
    keep = _soft_keep(ranked, group, threshold, temperature)
    return torch.empty_like(keep).scatter(-1, order, keep)


# --- boxes by falling score -----------------------------------------------------


def _solution(
    boxes: Tensor, group: Tensor | None, threshold: float, temperature: float
) -> Tensor:
    """How far each is kept, block by block."""
    keep = torch.ones_like(boxes[..., 0])
    for start, stop in _blocks(boxes):
        pairs = Overlaps.of(boxes[..., start:stop, :], boxes[..., :stop, :])
        chance = _chance(pairs.iou, group, start, (threshold, temperature))
        before = _factors(chance[..., :start], keep[..., :start]).prod(-1)
        keep[..., start:stop] = _solved(chance[..., start:], before)
    return keep


def _blocks(boxes: Tensor) -> list[tuple[int, int]]:
    size = boxes.shape[-2]
    return [(start, min(start + BLOCK, size)) for start in range(0, size, BLOCK)]


def _chance(
    overlap: Tensor, group: Tensor | None, start: int, soft: tuple[float, float]
) -> Tensor:
    """σ((IoU_ij − τ)/T) of the ranks i from `start` on and all j < i; 0 where j ≥ i."""
    threshold, temperature = soft
    chance = torch.sigmoid((overlap - threshold) / temperature)
    if group is not None:
        other = group[..., : overlap.shape[-1]]
        chance = chance * (other[..., start:, None] == other[..., None, :])
    return chance.tril(start - 1)


def _factors(chance: Tensor, keep: Tensor) -> Tensor:
    """1 − keep_j p_ij."""
    return (1 - chance * keep[..., None, :]).clamp(min=TINY)


def _solved(chance: Tensor, before: Tensor) -> Tensor:
    """The block's solution: after k rounds its first k ranks no longer change."""
    keep = before
    while True:
        after = before * _factors(chance, keep).prod(-1)
        if torch.equal(after, keep):
            return after
        keep = after


# --- its slopes -----------------------------------------------------------------


def _pulled(
    slope: Tensor,
    boxes: Tensor,
    group: Tensor | None,
    keep: Tensor,
    threshold: float,
    temperature: float,
) -> Tensor:
    """The slopes of the boxes: from the last block back to the first.

    ∂keep_i/∂p_ij = −keep_j Π_{k≠j}(1 − keep_k p_ik), and the same with p_ij for
    keep_j. What all later ranks say about a block's is summed when it is reached; what
    its ranks say about each other is a triangular system.
    """
    later, done = torch.zeros_like(boxes), list[Tensor]()
    for start, stop in reversed(_blocks(boxes)):
        pairs = Overlaps.of(boxes[..., start:stop, :], boxes[..., :stop, :])
        chance = _chance(pairs.iou, group, start, (threshold, temperature))
        kept = keep[..., :stop]
        others = kept[..., start:, None] / _factors(chance, kept)
        through = others * chance
        own = torch.linalg.solve_triangular(
            through[..., start:].mT,
            slope[..., start:stop, None],
            upper=True,
            unitriangular=True,
        )
        slope = slope[..., :start] - (own.mT @ through[..., :start]).squeeze(-2)
        slopes = through * (1 - chance) * own * (kept / -temperature)[..., None, :]
        rows, columns = pairs.pulled(slopes)
        later = later[..., :stop, :] + columns
        done.append(later[..., start:, :] + rows)
    return torch.cat([later[..., :0, :], *reversed(done)], dim=-2)


# --- for autograd, torch.func and the compiler ----------------------------------


class _SoftKeep(torch.autograd.Function):
    """What autograd and `torch.func` know of it."""

    @staticmethod
    def forward(
        boxes: Tensor, group: Tensor | None, threshold: float, temperature: float
    ) -> Tensor:
        return _solution(boxes, group, threshold, temperature)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        boxes, group, *soft = inputs
        ctx.save_for_backward(boxes, group, output)
        ctx.soft = tuple(soft)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        slopes = _pulled(grad_outputs[0], *ctx.saved_tensors, *ctx.soft)
        return slopes, None, None, None

    @staticmethod
    def vmap(
        info: Any, in_dims: Sequence[int | None], *inputs: Any
    ) -> tuple[Tensor, int]:
        """One dimension more."""
        moved = [
            _in_front(one, dim, info.batch_size)
            for one, dim in zip(inputs, in_dims, strict=True)
        ]
        return _SoftKeep.apply(*moved), 0


def _in_front(value: Any, dim: int | None, size: int) -> Any:
    if not isinstance(value, Tensor):
        return value
    return value.expand(size, *value.shape) if dim is None else value.movedim(dim, 0)


def _soft_keep(
    boxes: Tensor, group: Tensor | None, threshold: float, temperature: float
) -> Tensor:
    """The solution with its slopes: one operation for the compiler."""
    run = _compiled if torch.compiler.is_compiling() else _SoftKeep.apply
    return run(boxes, group, threshold, temperature)


# --- for the compiler, to whom both are one operation each ----------------------


_compiled = torch.library.custom_op("surefoot::soft_keep", _solution, mutates_args=())
_slopes = torch.library.custom_op(
    "surefoot::soft_keep_slopes", _pulled, mutates_args=()
)


def _backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
    return _slopes(slope, *ctx.saved_tensors, *ctx.soft), None, None, None


def _shape(boxes: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(boxes[..., 0])


def _slopes_shape(slope: Tensor, boxes: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(boxes)


_compiled.register_fake(_shape)
_compiled.register_autograd(_backward, setup_context=_SoftKeep.setup_context)
_slopes.register_fake(_slopes_shape)
