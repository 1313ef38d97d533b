"""Boxes and scores of one image come in, which ones remain goes out: hard and soft NMS.

Equal scores count in the order of the boxes. With classes, only boxes of one class
suppress each other.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from surefoot.tasks.detection.boxes import (
    BoxError,
    box_iou,
    check_one_image,
    floating,
)

BLOCK = 512
"""Boxes that are judged at once: what is kept is compared with so many, so that the
memory for n boxes is n times this, not n²."""


def nms(
    boxes: Tensor,
    scores: Tensor,
    *,
    threshold: float = 0.5,
    classes: Tensor | None = None,
) -> Tensor:
    """Greedy suppression: the best box stays, those that overlap it more go, and so on.

    Args:
        boxes: `[n, 4]` as (x1, y1, x2, y2).
        scores: `[n]`.
        threshold: the overlap (IoU) above which the worse box goes.
        classes: `[n]` integers, if boxes are of several.

    Returns:
        Indices `[kept]` of the boxes that remain, the best first.

    Raises:
        BoxError: shapes that do not fit, or a threshold outside 0 to 1.

    >>> chain = torch.tensor([[0.0, 0, 10, 1], [3, 0, 13, 1], [6, 0, 16, 1]])
    >>> nms(chain, torch.tensor([0.9, 0.8, 0.7]), threshold=0.4)
    tensor([0, 2])
    """
    check_one_image(boxes, scores, classes)
    check_threshold(threshold)
    order = scores.detach().argsort(descending=True, stable=True)
    ranked = floating(boxes.detach())[order]
    group = torch.zeros_like(order) if classes is None else classes[order]
    kept = order[:0]
    for block in torch.arange(len(order), device=order.device).split(BLOCK):
        gone = _covers(ranked, group, (kept, block), threshold).any(0)
        left = block[~gone]
        over = _covers(ranked, group, (left, left), threshold).triu(1)
        kept = torch.cat([kept, left[_greedy(over)]])
    return order[kept]


def _covers(
    boxes: Tensor, group: Tensor, pair: tuple[Tensor, Tensor], threshold: float
) -> Tensor:
    """`[n, m]`: whether each of the first, if it stays, suppresses each other one."""
    one, other = pair
    same = group[one, None] == group[None, other]
    return (box_iou(boxes[one], boxes[other]) > threshold) & same


def _greedy(over: Tensor) -> Tensor:
    """Which of m stay, if `over[i, j]` says that i < j suppresses j.

    Repeated until nothing changes: after k rounds the first k are right, and what does
    not change any more is right as a whole. Rounds are as many as the longest chain.
    """
    numbers = over.to(torch.float32)
    keep = numbers.new_ones(len(over))
    while True:
        after = (keep @ numbers == 0).to(keep)
        if torch.equal(after, keep):
            return keep.bool()
        keep = after


def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    *,
    sigma: float = 0.5,
    threshold: float = 0.3,
    kind: Literal["gaussian", "linear"] = "gaussian",
    classes: Tensor | None = None,
) -> Tensor:
    """Lower the scores of boxes that overlap better ones (Bodla et al. 2017).

    The box with the highest score is taken, the scores of those that are left are
    multiplied by exp(−IoU²/σ), or by 1 − IoU where IoU is above the threshold if
    linear, and so on. Nothing is dropped: drop what ends below a score of your choice,
    such as 0.001, which gives the same as dropping it on the way.

    Gradients flow to the scores and the boxes, with the order held as it is.

    Args:
        boxes: `[n, 4]` as (x1, y1, x2, y2).
        scores: `[n]`, none negative.
        sigma: σ of the Gaussian kind, 0.5 in the paper.
        threshold: of the linear kind, 0.3 in the paper.
        kind: "gaussian" or "linear".
        classes: `[n]` integers, if boxes are of several.

    Returns:
        Scores `[n]`, in the order of the boxes.

    Raises:
        BoxError: shapes that do not fit, a σ that is not positive, a threshold outside
            0 to 1, an unknown kind.

    >>> pair = torch.tensor([[0.0, 0, 10, 1], [3, 0, 13, 1]])
    >>> soft_nms(pair, torch.tensor([0.9, 0.8]))
    tensor([0.9000, 0.4480])
    """
    check_one_image(boxes, scores, classes)
    check_threshold(threshold)
    if not (sigma > 0 and math.isfinite(sigma)) or kind not in ("gaussian", "linear"):
        raise BoxError(
            f"sigma={sigma!r} and kind={kind!r} came; expected a positive number, and "
            "'gaussian' or 'linear'"
        )
    overlap = box_iou(boxes, boxes)
    if kind == "gaussian":
        factors = (-overlap.square() / sigma).exp()
    else:
        factors = torch.where(overlap > threshold, 1 - overlap, 1.0)
    if classes is not None:
        factors = factors.masked_fill(classes[:, None] != classes[None, :], 1.0)
    taken = _ranks(factors.detach(), floating(scores.detach()))
    worse = taken[:, None] < taken[None, :]
    left = torch.where(worse, factors, 1.0).prod(0)
    return (floating(scores) * left).to(scores.dtype)


def _ranks(factors: Tensor, scores: Tensor) -> Tensor:
    """When each box is taken; the scores of those that are left fall meanwhile.

    In logarithms, so that scores far below 1 keep their order. What is 0 keeps a
    number: only what is taken is −∞.
    """
    tiny = torch.finfo(scores.dtype).tiny
    left, logs = scores.clamp(min=tiny).log(), factors.clamp(min=tiny).log()
    ranks = torch.zeros_like(scores, dtype=torch.long)
    for rank in range(len(scores)):
        best = left.argmax()
        ranks[best] = rank
        left += logs[best]
        left[best] = -math.inf
    return ranks


def check_threshold(threshold: float) -> None:
    """Refuse an overlap that cannot be.

    Raises:
        BoxError: it lies outside 0 to 1.
    """
    if not 0 <= threshold <= 1:
        raise BoxError(f"threshold={threshold!r} came; expected an overlap, 0 to 1")
