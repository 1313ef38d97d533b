"""Boxes come in, their areas and overlaps go out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


class BoxError(ValueError):
    """Boxes, scores, classes or settings that do not go together."""


def box_area(boxes: Tensor) -> Tensor:
    """Areas `[...]` of boxes `[..., 4]` as (x1, y1, x2, y2), x1 ≤ x2 and y1 ≤ y2.

    Raises:
        BoxError: the last dimension is not 4.

    >>> box_area(torch.tensor([[0.0, 0.0, 3.0, 2.0]]))
    tensor([6.])
    """
    check_boxes(boxes)
    return _area(boxes.movedim(-1, 0))


def box_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of all pairs: `[..., n, 4]`, `[..., m, 4]` to `[..., n, m]`.

    0 for two boxes without area. Half precision is computed in float32.

    Args:
        first: boxes as (x1, y1, x2, y2); other numbers than floating-point ones are
            taken for float32.
        second: boxes of the same kind; batches are broadcast.

    Raises:
        BoxError: the last dimension is not 4.

    >>> chain = torch.tensor([[0.0, 0, 10, 1], [3, 0, 13, 1], [6, 0, 16, 1]])
    >>> box_iou(chain[:1], chain)
    tensor([[1.0000, 0.5385, 0.2500]])
    """  # noqa: E501
    check_boxes(first)
    check_boxes(second)
    left, right = floating(first), floating(second)
    return Overlaps.of(left, right).iou


@dataclass(frozen=True, slots=True)
class Overlaps:
    """All pairs of two kinds of boxes: `[..., n, m]` each, sides `[4, ..., n or m]`.

    `wide` and `high` are what a pair shares, `inside` their product, `whole` what both
    cover: 1 where that is nothing, to divide by.
    """

    first: Tensor
    second: Tensor
    wide: Tensor
    high: Tensor
    inside: Tensor
    whole: Tensor

    @classmethod
    def of(cls, first: Tensor, second: Tensor) -> Self:
        """Of floating-point boxes `[..., n, 4]` and `[..., m, 4]`."""
        one, other = _sides(first), _sides(second)
        wide, high = _shared(one, other, 0), _shared(one, other, 1)
        inside = wide * high
        whole = _area(one)[..., :, None] + _area(other)[..., None, :] - inside
        return cls(one, other, wide, high, inside, torch.where(whole > 0, whole, 1.0))

    @property
    def iou(self) -> Tensor:
        """Intersection over union."""
        return self.inside / self.whole

    def pulled(self, slope: Tensor) -> tuple[Tensor, Tensor]:
        """What a slope on the overlaps means for both kinds of boxes, in their shapes.

        As autograd gives it, with fewer passes over the pairs. Where two sides fall
        together each has half of the slope.
        """
        by_union = slope.where(self.inside > 0, 0.0) / self.whole
        by_area = by_union * self.inside / self.whole
        by_inside = by_union + by_area
        parts = [
            self._side_slopes(by_inside * across, axis)
            for axis, across in ((0, self.high), (1, self.wide))
        ]
        rows, columns = (
            torch.stack([parts[axis][end][kind] for end in (0, 1) for axis in (0, 1)])
            for kind in (0, 1)
        )
        rows = rows - by_area.sum(-1) * _area_slopes(self.first)
        columns = columns - by_area.sum(-2) * _area_slopes(self.second)
        return rows.movedim(0, -1), columns.movedim(0, -1)

    def _side_slopes(
        self, slopes: Tensor, axis: int
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Of the lower and the upper sides along one axis: of the first, the second.

        Of two lower sides the larger one bounds what is shared, of two upper ones the
        other: half of the slope, and half of it with the sign of their difference.
        """
        rows, columns = slopes.sum(-1), slopes.sum(-2)
        found = list[tuple[Tensor, Tensor]]()
        for side, sign in ((axis, -1), (axis + 2, 1)):
            apart = self.first[side][..., :, None] - self.second[side][..., None, :]
            ahead = slopes * apart.sign()
            mine = sign * rows - ahead.sum(-1)
            found.append((mine / 2, (sign * columns + ahead.sum(-2)) / 2))
        return found[0], found[1]


def _sides(boxes: Tensor) -> Tensor:
    """`[4, ..., n]`, one after the other in memory: pairs are then fast to make."""
    return boxes.movedim(-1, 0).contiguous()


def _area(sides: Tensor) -> Tensor:
    return (sides[2] - sides[0]) * (sides[3] - sides[1])


def _area_slopes(sides: Tensor) -> Tensor:
    """How the area changes with each of the four sides."""
    wide, high = sides[2] - sides[0], sides[3] - sides[1]
    return torch.stack([-high, -wide, high, wide])


def _shared(first: Tensor, second: Tensor, axis: int) -> Tensor:
    """How far all pairs overlap along one axis, `[..., n, m]`."""
    low = torch.maximum(first[axis][..., :, None], second[axis][..., None, :])
    high = torch.minimum(first[axis + 2][..., :, None], second[axis + 2][..., None, :])
    return (high - low).clamp(min=0)


def check_boxes(boxes: Tensor, scores: Tensor | None = None) -> None:
    """Refuse what are no boxes, or scores that are not one a box.

    Raises:
        BoxError: the shapes do not fit.
    """
    if boxes.ndim < 2 or boxes.shape[-1] != 4:
        raise BoxError(
            f"boxes of shape {tuple(boxes.shape)} came; expected [..., n, 4] as "
            "(x1, y1, x2, y2)"
        )
    if scores is not None and scores.shape != boxes.shape[:-1]:
        raise BoxError(
            f"scores of shape {tuple(scores.shape)} came for boxes of shape "
            f"{tuple(boxes.shape)}; expected {tuple(boxes.shape[:-1])}"
        )


def check_one_image(boxes: Tensor, scores: Tensor, classes: Tensor | None) -> None:
    """Refuse batches of images, and classes that are not one a box.

    Raises:
        BoxError: the shapes do not fit.
    """
    check_boxes(boxes, scores)
    if boxes.ndim != 2:
        raise BoxError(
            f"boxes of shape {tuple(boxes.shape)} came; expected those of one image, "
            "[n, 4], as images keep different numbers of boxes"
        )
    check_classes(scores, classes)


def check_classes(scores: Tensor, classes: Tensor | None) -> None:
    """Refuse classes that are not one a box.

    Raises:
        BoxError: the shapes differ.
    """
    if classes is not None and classes.shape != scores.shape:
        raise BoxError(
            f"classes of shape {tuple(classes.shape)} came for scores of shape "
            f"{tuple(scores.shape)}; expected one a box"
        )


def floating(values: Tensor) -> Tensor:
    """Numbers to compute with: float32 at least."""
    wide = values.dtype in (torch.float32, torch.float64)
    return values if wide else values.float()
