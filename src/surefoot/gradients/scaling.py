"""Gradients and factors come in; the gradients are multiplied in place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from surefoot.gradients.norms import local_part


def shortened(xp: Any, norm: Any, threshold: Any) -> Any:
    """threshold/norm where a finite norm is larger than that, else 1.

    Args:
        xp: `HOST` or torch, whichever the numbers are of.
        norm: one or many.
        threshold: as many.
    """
    long = (norm > threshold) & (norm < math.inf)
    return xp.where(long, threshold / norm, 1.0)


def scale_(grads: Sequence[Tensor], factor: Any, *, alike: bool = False) -> None:
    """Multiply gradients by one factor, or by one each; by 1 keeps all bits.

    A factor of numpy is one on the host, where only what has another than 1 is
    touched. `alike` says that the gradients are known to be `uniform`.
    """
    parts = list(grads) if alike else [local_part(grad) for grad in grads]
    if isinstance(factor, Tensor):
        factors = factor
    elif np.ndim(factor) == 0:
        if float(factor) == 1.0:
            return
        factors = torch.tensor(float(factor))
    else:
        chosen = np.flatnonzero(factor != 1.0)
        parts = [parts[place] for place in chosen]
        factors = torch.from_numpy(factor[chosen])
    if not parts:
        return
    if alike:
        _multiply(parts, factors if factors.dim() == 0 else list(factors.unbind()))
    else:
        _multiply_each(parts, factors)


def _multiply(parts: list[Tensor], factor: Tensor | list[Tensor]) -> None:
    """By tensors, in one kernel: on the host plain numbers take four times as long."""
    torch._foreach_mul_(parts, factor)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]


def _multiply_each(parts: list[Tensor], factors: Tensor) -> None:
    """Gradients of several kinds or places; dense ones of one device together."""
    each = [factors] * len(parts) if factors.dim() == 0 else list(factors.unbind())
    for device in dict.fromkeys(part.device for part in parts):
        own = [i for i, part in enumerate(parts) if part.device == device]
        dense = [i for i in own if parts[i].layout is torch.strided]
        if dense:
            _multiply([parts[i] for i in dense], [each[i].to(device) for i in dense])
        for place in (i for i in own if parts[i].layout is not torch.strided):
            parts[place].mul_(each[place].to(device))
