"""A tensor with its graph comes in, the leaves that it was computed from go out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


def depends_on(tensor: torch.Tensor, leaves: Sequence[torch.Tensor]) -> bool:
    """Whether a tensor was computed from any of some leaves.

    >>> a, b = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    >>> depends_on((a * 2).sum(), [a]), depends_on((a * 2).sum(), [b])
    (True, False)
    """
    wanted = {id(leaf) for leaf in leaves}
    if id(tensor) in wanted:
        return True
    seen: set[Any] = set()
    waiting: list[Any] = [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if id(getattr(node, "variable", None)) in wanted:
            return True
        waiting += [child for child, _ in node.next_functions]
    return False
