"""Suppression of 1,000 boxes with slopes, forward and backward, sparse to crowded.

There is no peer: what is aimed at is a time on one thread.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from benchmarks.blocks.measure import Measure, Work
from surefoot.tasks.detection import differentiable_nms

BOXES = 1_000
AIM = 50.0
"""Milliseconds."""

CROWDS = (("apart", 4_000.0), ("some overlap", 600.0), ("crowded", 100.0))
"""Boxes of 20 to 70 pixels in a square of so many: 0.01, 0.6 and 17 others overlap a
box by more than half of what both cover."""


def suppression(extent: float, *, several: bool = False) -> Work:
    """One pass both ways over boxes at random."""
    stream = torch.Generator().manual_seed(0)
    low = torch.rand(BOXES, 2, generator=stream) * extent
    boxes = torch.cat([low, low + 20 + 50 * torch.rand(BOXES, 2, generator=stream)], 1)
    scores = torch.rand(BOXES, generator=stream)
    classes = torch.randint(0, 80, (BOXES,), generator=stream) if several else None
    boxes.requires_grad_()

    def work() -> None:
        boxes.grad = None
        keep = differentiable_nms(boxes, scores, classes=classes)
        (keep * scores).sum().backward()

    return work


def _measure(name: str, ours: Callable[[], Work]) -> Measure:
    return Measure(f"NMS of 1,000 boxes, {name}", "-", AIM, ours)


MEASURES: tuple[Measure, ...] = (
    *(_measure(name, partial(suppression, extent)) for name, extent in CROWDS),
    _measure("80 classes", partial(suppression, 100.0, several=True)),
)
