"""A weight comes in, the matrix of its filters goes out; and back.

Filters are rows: `[out, in, *kernel]` becomes `[out, in·kernel]`. A convolution in
groups is several maps side by side, so that it becomes several matrices. A transposed
convolution has its input channels first; its matrix is the one of its adjoint, which
has the same singular values.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import torch
from torch import Tensor

Asked = ParamSpec("Asked")


class OrthogonalityError(ValueError):
    """A weight whose filters cannot be measured or made orthonormal as it came."""


def unfolded(weight: Tensor, groups: int = 1) -> Tensor:
    """The filters of a weight as rows, `[groups, out/groups, in/groups·kernel]`.

    >>> import torch
    >>> unfolded(torch.zeros(8, 2, 3, 3), groups=4).shape
    torch.Size([4, 2, 18])

    Raises:
        OrthogonalityError: it has fewer than two axes, is complex, holds integers, or
            the groups do not divide its first axis.
    """
    if weight.dim() < 2 or weight.numel() == 0 or not weight.is_floating_point():
        raise OrthogonalityError(
            f"a {weight.dtype} weight of shape {tuple(weight.shape)} came; expected "
            "real numbers with two axes or more, [out, in] or [out, in, *kernel]; "
            "leave biases and gains of normalisers out"
        )
    if groups < 1 or weight.shape[0] % groups:
        raise OrthogonalityError(
            f"groups={groups} came for {weight.shape[0]} filters; expected a positive "
            "number that divides them"
        )
    return weight.reshape(groups, weight.shape[0] // groups, -1)


def tall(matrix: Tensor) -> Tensor:
    """A matrix `[..., m, n]` or its transpose, whichever has no more columns than rows.

    Orthonormal columns of the transpose are orthonormal rows of the matrix.
    """
    return matrix if matrix.shape[-2] >= matrix.shape[-1] else matrix.mT


def gram(matrix: Tensor) -> Tensor:
    """MᵀM of the tall one of a matrix and its transpose, `[..., n, n]`.

    >>> import torch
    >>> gram(torch.ones(1, 2, 3)).shape
    torch.Size([1, 2, 2])
    """
    upright = tall(matrix)
    return upright.mT @ upright


def computable(matrix: Tensor) -> Tensor:
    """A matrix in float32 at least: torch factorises nothing narrower."""
    return matrix if matrix.element_size() >= 4 else matrix.float()


def in_full_precision(function: Callable[Asked, Tensor]) -> Callable[Asked, Tensor]:
    """A function of weights without autocast, which would round its products."""

    @wraps(function)
    def whole(*args: Asked.args, **named: Asked.kwargs) -> Tensor:
        given = (*args, *named.values())
        devices = [one.device.type for one in given if isinstance(one, Tensor)]
        with torch.autocast(devices[0] if devices else "cpu", enabled=False):
            return function(*args, **named)

    return whole
