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

    >>> product = torch.ones(2, requires_grad=True) * 2
    >>> [type(node).__name__ for node in nodes_of([product])]
    ['MulBackward0', 'AccumulateGrad']
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


def differentiable_once(node: Any) -> bool:
    """Whether a node is of an autograd.Function that is marked once_differentiable.

    Where the gradient that reaches it is a constant, torch takes its derivative for a
    constant as well and raises nothing.
    """
    backward: Any = getattr(getattr(node, "_forward_cls", None), "backward", None)
    while hasattr(backward, "__wrapped__"):
        if _is_torchs(backward):
            return True
        backward = backward.__wrapped__
    return False


def _is_torchs(wrapper: Any) -> bool:
    """Whether a wrapper is the one of `torch.autograd.function.once_differentiable`."""
    code = getattr(wrapper, "__code__", None)
    return code is not None and code.co_filename == torch.autograd.function.__file__
