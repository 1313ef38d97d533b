"""Lengths come in, masks go out; and masks are checked before they are used.

A mask is True where there is data. Of values `[N, C, *]` it has shape `[N, *]`, as all
channels of a position are there or are not.
"""

from __future__ import annotations

import torch
from torch import Tensor

from surefoot.nn.norm.errors import NormError


def lengths_to_mask(lengths: Tensor, longest: int | None = None) -> Tensor:
    """A mask of sequences that are padded at the end: position < length.

    Args:
        lengths: whole numbers `[N]`, 0 for a sequence without data.
        longest: the padded length; that of the longest if not given, which has to be
            read from the device and cannot be compiled.

    Returns:
        Booleans `[N, longest]`.

    Raises:
        NormError: another shape or type, or a length outside of 0 to `longest`.

    >>> lengths_to_mask(torch.tensor([3, 1]))
    tensor([[ True,  True,  True],
            [ True, False, False]])
    """
    whole = not (lengths.is_floating_point() or lengths.is_complex())
    if lengths.dim() != 1 or not whole or lengths.dtype == torch.bool:
        raise NormError(
            f"lengths of shape {list(lengths.shape)} and {lengths.dtype} came; "
            "expected whole numbers [N], one a sequence"
        )
    if longest is None:
        longest = int(lengths.max()) if len(lengths) else 0
    if not torch.compiler.is_compiling() and lengths.device.type == "cpu":
        _check_range(lengths, longest)
    return torch.arange(longest, device=lengths.device) < lengths[:, None]


def _check_range(lengths: Tensor, longest: int) -> None:
    wrong = lengths[(lengths < 0) | (lengths > longest)]
    if len(wrong):
        raise NormError(
            f"a length of {int(wrong[0])} came; expected 0 to {longest}, the padded "
            "length"
        )


def check_mask(values: Tensor, mask: Tensor) -> None:
    """That a mask `[N, *]` fits to values `[N, C, *]`.

    Raises:
        NormError: values without channels, a mask of another shape, or not of booleans.
    """
    if values.dim() < 2 or not values.is_floating_point():
        raise NormError(
            f"values of shape {list(values.shape)} and {values.dtype} came; expected "
            "floating-point numbers [N, C, *]"
        )
    if mask.dtype != torch.bool:
        raise NormError(
            f"a mask of {mask.dtype} came; expected torch.bool, True where there is "
            "data; write mask.bool(), or lengths_to_mask(lengths)"
        )
    fits = (values.shape[0], *values.shape[2:])
    if tuple(mask.shape) != fits:
        raise NormError(
            f"a mask of shape {list(mask.shape)} came for values "
            f"{list(values.shape)}; expected {list(fits)}: one entry for each sample "
            "and position, none for channels"
        )
