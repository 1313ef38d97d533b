"""Batches come in as they are trained on, copies on the host go out."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree


@dataclass(slots=True)
class _Seen:
    """A tensor that was copied: which one, in which version, and the copy."""

    tensor: weakref.ref[Tensor]
    version: int | None
    copy: Tensor


class Copier:
    """Copies batches to the host; what did not change since is copied once.

    From a CUDA device into pinned memory, which is not waited for.
    """

    def __init__(self) -> None:
        self.nbytes = 0
        self._before: dict[int, _Seen] = {}
        self._now: dict[int, _Seen] = {}

    def begin(self) -> None:
        """A micro-batch begins: only copies of the one before are still known."""
        self._before, self._now = self._now, {}
        self.nbytes = 0

    def copy(self, nest: Any) -> Any:
        """A nest with host copies of its tensors and arrays.

        A tensor that was copied in this micro-batch already stands for its value of
        then, whatever was done to it since.
        """
        return pytree.tree_map(self._leaf, nest)

    def knows(self, tensors: Iterable[Any]) -> bool:
        """Whether one of these was copied in this micro-batch."""
        return any(self._found(self._now, one) is not None for one in tensors)

    def _leaf(self, one: Any) -> Any:
        if isinstance(one, Tensor):
            return self._tensor(one)
        if isinstance(one, np.ndarray):
            self.nbytes += one.nbytes
            return one.copy()
        return one

    def _tensor(self, one: Tensor) -> Tensor:
        seen = self._found(self._now, one)
        if seen is not None:
            return seen.copy
        version = None if one.is_inference() else one._version
        old = self._found(self._before, one)
        if old is not None and version is not None and old.version == version:
            copy = old.copy
        else:
            copy = _on_host(one)
            self.nbytes += copy.nbytes
        self._now[id(one)] = _Seen(weakref.ref(one), version, copy)
        return copy

    def _found(self, table: dict[int, _Seen], one: Any) -> _Seen | None:
        seen = table.get(id(one))
        return seen if seen is not None and seen.tensor() is one else None


def tensors_of(nest: Any) -> list[Tensor]:
    """All tensors of a nest."""
    return [one for one in pytree.tree_leaves(nest) if isinstance(one, Tensor)]


def _on_host(tensor: Tensor) -> Tensor:
    """A copy on the host, without a graph."""
    source = tensor.detach()
    if not source.is_cuda:
        return source.clone() if source.is_cpu else source.cpu()
    copy = torch.empty_like(source, device="cpu", pin_memory=True)
    return copy.copy_(source, non_blocking=True)
