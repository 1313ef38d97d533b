"""A tensor with its graph comes in, what it was computed from and by what goes out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch


def depends_on(tensor: torch.Tensor, leaves: Sequence[torch.Tensor]) -> bool:
    """Whether a tensor was computed from any of some leaves.

    >>> a, b = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    >>> depends_on((a * 2).sum(), [a]), depends_on((a * 2).sum(), [b])
    (True, False)
    """
    wanted = {id(leaf) for leaf in leaves}
    return id(tensor) in wanted or any(
        id(getattr(node, "variable", None)) in wanted for node in nodes_of([tensor])
    )


def nodes_of(tensors: Sequence[torch.Tensor]) -> Iterator[Any]:
    """All nodes of the graph of some tensors, each once.

    >>> [node.name() for node in nodes_of([torch.ones(2, requires_grad=True) * 2])]
    ['MulBackward0', 'struct torch::autograd::AccumulateGrad']
    """
    seen: set[Any] = set()
    waiting: list[Any] = [tensor.grad_fn for tensor in tensors]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        waiting += [child for child, _ in node.next_functions]
