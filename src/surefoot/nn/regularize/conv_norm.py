"""A convolution's kernel comes in, its singular values as an operator go out.

With circular padding a convolution is diagonal in frequency: at each one it is a
matrix of the channels, and the singular values of all of them are the operator's
(Sedghi, Gupta and Long 2019, arXiv:1805.10408). The unfolded kernel
`[out, in·kernel]`, which torch's `spectral_norm` and `orthogonal_` look at, is not the
operator: its norm may be √(k_h·k_w) times too small.

With a stride, s frequencies of the input fall on one of the output, and their matrices
stand side by side, over √s. With zeros for padding the operator is a part of the
circular one on a map larger by the kernel: that one's norm is a bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from surefoot.nn.regularize.unfolding import (
    OrthogonalityError,
    computable,
    in_full_precision,
    unfolded,
)

Sizes = int | Sequence[int]


@in_full_precision
def conv_singular_values(
    weight: Tensor,
    size: Sizes,
    *,
    stride: Sizes = 1,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """All singular values of a convolution with circular padding, largest first.

    Args:
        weight: `[out, in/groups, *kernel]`, one to three axes of kernel. That of a
            transposed convolution, its adjoint, has the same values.
        size: of the map that comes in, `[*size]` or one number for all axes.
        stride: a divisor of the size.
        dilation: of the kernel.
        groups: of the convolution.

    Returns:
        `[min(out, in·strides)·positions]`, positions being those of the output.

    >>> found = conv_singular_values(torch.full((1, 1, 2), 0.5), 4)
    >>> [round(float(value), 4) for value in found]
    [1.0, 0.7071, 0.7071, 0.0]

    Raises:
        OrthogonalityError: the shape, the size or the stride does not fit.
    """
    told = _Told(weight, size, stride=stride, dilation=dilation, groups=groups)
    values = torch.linalg.svdvals(told.matrices(half=False))
    return values.flatten().sort(descending=True).values


@in_full_precision
def conv_operator_norm(
    weight: Tensor,
    size: Sizes,
    *,
    stride: Sizes = 1,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Largest factor by which a convolution can stretch a map: its true norm.

    Exact for circular padding, see `conv_singular_values` for the arguments. For zero
    padding give the size plus dilation·(kernel − 1): a bound then, by a tenth too
    large on a map of 8 by 8 and less on larger ones. It can be differentiated.

    Returns:
        A number, shape `[]`.

    >>> mean = torch.full((1, 1, 3, 3), 1 / 3)
    >>> unfolded_norm = torch.linalg.matrix_norm(mean.flatten(1), 2)
    >>> round(float(unfolded_norm), 5), round(float(conv_operator_norm(mean, 8)), 5)
    (1.0, 3.0)

    Raises:
        OrthogonalityError: the shape, the size or the stride does not fit.
    """
    told = _Told(weight, size, stride=stride, dilation=dilation, groups=groups)
    return torch.linalg.matrix_norm(told.matrices(half=True), 2).amax()


@in_full_precision
def conv_norm_bound(
    weight: Tensor,
    *,
    stride: Sizes = 1,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """A bound on the norm of a convolution, for maps of all sizes and both paddings.

    The least of √(∏k)·‖M‖₂ over the ways to unfold the kernel into a matrix M, each
    axis of the kernel to the rows or to the columns (Singla and Feizi 2021,
    arXiv:1911.10258). With all axes to the columns, no input is read more than
    ⌈k·gcd(s, d)/s⌉ times an axis, so that this number takes the place of k.

    Returns:
        A number, shape `[]`.

    >>> round(float(conv_norm_bound(torch.full((1, 1, 3, 3), 1 / 3))), 5)
    3.0

    Raises:
        OrthogonalityError: the shape does not fit.
    """
    kernel = tuple(weight.shape[2:])
    strides = _sizes(stride, len(kernel), "stride")
    dilations = _sizes(dilation, len(kernel), "dilation")
    whole = computable(unfolded(weight, groups)).unflatten(2, (-1, *kernel))
    reads = [
        math.ceil(k * math.gcd(s, d) / s)
        for k, s, d in zip(kernel, strides, dilations, strict=True)
    ]
    found = [_norm(whole.flatten(2)) * math.sqrt(math.prod(reads))]
    axes = range(len(kernel))
    for count in range(1, len(kernel) + 1):
        for rows in combinations(axes, count):
            columns = [axis for axis in axes if axis not in rows]
            order = [0, 1, *(3 + a for a in rows), 2, *(3 + a for a in columns)]
            turned = whole.permute(order).flatten(1, 1 + count).flatten(2)
            found.append(_norm(turned) * math.sqrt(math.prod(kernel)))
    return torch.stack(found).amin()


class _Told:
    """A convolution as it was told, checked."""

    def __init__(
        self,
        weight: Tensor,
        size: Sizes,
        *,
        stride: Sizes,
        dilation: Sizes,
        groups: int,
    ) -> None:
        axes = weight.dim() - 2
        if axes < 1:
            raise OrthogonalityError(
                f"a weight of shape {tuple(weight.shape)} came; expected that of a "
                "convolution, [out, in/groups, *kernel]"
            )
        self.size = _sizes(size, axes, "size")
        self.stride = _sizes(stride, axes, "stride")
        self.dilation = _sizes(dilation, axes, "dilation")
        if any(n % s for n, s in zip(self.size, self.stride, strict=True)):
            raise OrthogonalityError(
                f"stride={self.stride} came for a map of size {self.size}; expected a "
                "divisor of it, as a circle has no place for another step"
            )
        rows = computable(unfolded(weight, groups))
        self.kernel = rows.unflatten(2, (-1, *weight.shape[2:]))

    def matrices(self, *, half: bool) -> Tensor:
        """The matrix at each frequency, `[groups, *frequencies, out, in·strides]`.

        With `half`, one of each pair of frequencies whose matrices are conjugate.
        """
        axes = len(self.size)
        found = torch.complex(self.kernel, torch.zeros_like(self.kernel))
        for axis in range(axes):
            waves = self._waves(axis, half=half and axis == axes - 1)
            # The front axis of the kernel goes; frequencies and their kin come last.
            found = torch.tensordot(found, waves.to(found), dims=([3], [2]))  # pyright: ignore[reportArgumentType]
        frequencies = [3 + 2 * axis for axis in range(axes)]
        kin = [4 + 2 * axis for axis in range(axes)]
        turned = found.permute([0, *frequencies, 1, 2, *kin])
        return turned.flatten(axes + 2) / math.sqrt(math.prod(self.stride))

    def _waves(self, axis: int, *, half: bool) -> Tensor:
        """exp(−2πi·u·d·t/N), `[frequency of the output, its kin u, tap t]`."""
        size, stride = self.size[axis], self.stride[axis]
        lows = size // stride
        low = torch.arange(lows // 2 + 1 if half else lows)
        kin = torch.arange(stride) * lows
        taps = torch.arange(self.kernel.shape[3 + axis]) * self.dilation[axis]
        turns = (low[:, None, None] + kin[:, None]) * taps % size
        angles = turns.double() * (-2 * math.pi / size)
        return torch.polar(torch.ones_like(angles), angles)


def _norm(matrix: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(matrix, 2).amax()


def _sizes(value: Sizes, axes: int, name: str) -> tuple[int, ...]:
    """One positive number an axis."""
    told = (value,) * axes if isinstance(value, int) else tuple(value)
    if len(told) != axes or any(one < 1 for one in told):
        raise OrthogonalityError(
            f"{name}={value!r} came for {axes} axes; expected a positive number, or "
            "one for each axis"
        )
    return told
