"""Norms come in as a tensor, and go out as numbers of the place where they are.

A rule is written once and runs twice: on a device with torch, where nothing is looked
at; on the host with numpy, where twenty small operations of torch would take as long
as the norms themselves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


class Host:
    """What rules use of torch, by the same names, for numbers and arrays of numpy."""

    isnan, fmin, ones_like = np.isnan, np.fmin, staticmethod(np.ones_like)

    def where(self, condition: Any, yes: Any, no: Any) -> Any:
        """As numpy's, which takes ten times as long for a single number."""
        if isinstance(condition, np.ndarray):
            return np.where(condition, yes, no)
        return yes if condition else no

    def stack(self, numbers: Sequence[Any]) -> Any:
        """An array of single numbers."""
        return np.array(numbers, dtype=np.float32)


HOST = Host()


@dataclass(frozen=True, slots=True)
class Norms:
    """Norms of one update.

    Attributes:
        xp: `HOST` or torch, with the same names for what is used.
        whole: the norm of the whole gradient, a number or 0-dim.
        row: of each gradient that is there, `[present]`.
        home: where they are.
        absent: which of the parameters have none, by place; empty if all have one.
    """

    xp: Any
    whole: Any
    row: Any
    home: torch.device
    absent: tuple[int, ...]

    def finite(self) -> Any:
        """Whether the whole is neither infinite nor NaN."""
        return self.whole < math.inf


def norms_as_numbers(
    row: Tensor, total: Tensor, *, absent: Sequence[int] = ()
) -> Norms:
    """Norms of gradients `[present]` and of the whole, as numbers of their place."""
    if not row.is_cpu:
        return Norms(torch, total, row, row.device, tuple(absent))
    return Norms(HOST, total.numpy()[()], row.numpy(), row.device, tuple(absent))
