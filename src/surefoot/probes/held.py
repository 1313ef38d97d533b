"""A batch that is kept: it comes in once, the same rows go out each time."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils import _pytree as pytree


class Held:
    """A copy of a batch, whole or some of its rows.

    `rows` is the number of rows, that is the length of the first dimension of all its
    tensors; 0 where they differ or there are none: then it has no parts.
    """

    def __init__(self, batch: Any) -> None:
        leaves, self._structure = pytree.tree_flatten(batch)
        self._leaves = [
            leaf.detach().clone() if isinstance(leaf, torch.Tensor) else leaf
            for leaf in leaves
        ]
        tensors = [leaf for leaf in self._leaves if isinstance(leaf, torch.Tensor)]
        lengths = {tensor.shape[0] if tensor.ndim else 0 for tensor in tensors}
        self.rows = lengths.pop() if len(lengths) == 1 else 0

    def part(self, first: int = 0, last: int | None = None) -> Any:
        """The batch with rows `first` to `last`, without the last; all by default.

        >>> held = Held({"x": torch.arange(6).reshape(3, 2), "y": torch.arange(3)})
        >>> held.rows, held.part(1, 3)["y"]
        (3, tensor([1, 2]))
        """
        if last is None:
            return pytree.tree_unflatten(self._leaves, self._structure)
        leaves = [
            leaf[first:last] if isinstance(leaf, torch.Tensor) else leaf
            for leaf in self._leaves
        ]
        return pytree.tree_unflatten(leaves, self._structure)

    def keep(self, rows: int) -> None:
        """Let go of all but the first rows."""
        if rows < self.rows:
            self._leaves = [
                leaf[:rows].clone() if isinstance(leaf, torch.Tensor) else leaf
                for leaf in self._leaves
            ]
            self.rows = rows
