"""Boxes: overlaps, and suppression that is hard, soft, or has gradients."""

from surefoot.tasks.detection.boxes import BoxError, box_area, box_iou
from surefoot.tasks.detection.soft_keep import differentiable_nms
from surefoot.tasks.detection.suppress import nms, soft_nms

__all__ = [
    "BoxError",
    "box_area",
    "box_iou",
    "differentiable_nms",
    "nms",
    "soft_nms",
]
