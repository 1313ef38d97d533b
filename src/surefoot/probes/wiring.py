"""How a loss is wired to the network: its autograd graph comes in, a Wiring goes out.

The graph stays readable after backward (only the saved tensors are freed), so the
loss that a user tells after the update is early enough.
"""

from __future__ import annotations

import gc
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

LONGEST_HEAD = 16
MOST_HEADS = 8
MOST_NODES = 200_000
"""Nodes of a graph that are visited: a network of a thousand layers has a tenth."""

WEIGHTED = (
    "Addmm", "Mm", "Bmm", "Baddbmm", "Mv", "Linear", "MkldnnLinear", "Convolution",
    "MkldnnConvolution", "Embedding", "Cudnn", "MiopenRnn", "MkldnnRnnLayer",
    "ScaledDotProduct", "NativeBatchNorm", "CudnnBatchNorm", "NativeLayerNorm",
    "NativeGroupNorm", "FusedRmsNorm", "CheckpointFunction", "CompiledFunction",
)  # fmt: skip
"""Operations that end the head of a network: what holds weights, or cannot be seen
through."""

SHAPING = (
    "View", "UnsafeView", "Reshape", "Transpose", "Permute", "T", "Squeeze",
    "Unsqueeze", "Select", "Slice", "Expand", "Clone", "Contiguous", "Alias", "Copy",
    "Split", "SplitWithSizes", "Unbind", "Flatten", "ToCopy", "AsStrided",
)  # fmt: skip
"""Operations that move elements and change none."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """What lies between a loss and the network that it trains.

    `heads` are paths of operations from the loss to the last weighted operation, such
    as ("NllLoss", "LogSoftmax", "Softmax", "Addmm"), shaping left out. `loose` are
    shapes of `nn.Parameter`s that the loss reaches and that neither the model nor any
    optimizer holds. `unreached` are known parameters that the loss does not depend
    on. `after` are known parameters next before the loose ones. `whole` says that the
    graph was seen to its end.
    """

    heads: tuple[tuple[str, ...], ...] = ()
    loose: tuple[tuple[int, ...], ...] = ()
    unreached: tuple[str, ...] = ()
    whole: bool = True
    after: tuple[str, ...] = ()


def wiring(loss: torch.Tensor, known: Mapping[str, torch.Tensor]) -> Wiring:
    """The wiring of one loss; `known` are the trainable parameters by name.

    Parameters that some other optimizer of the process holds are nobody's mistake:
    the loss of a generator passes through its critic.

    >>> weight = torch.ones(3, 3, requires_grad=True)
    >>> output = (torch.ones(2, 3) @ weight).softmax(-1)
    >>> loss = torch.nn.functional.cross_entropy(output, torch.tensor([0, 1]))
    >>> wiring(loss, {"weight": weight}).heads
    (('NllLoss', 'LogSoftmax', 'Softmax', 'Mm'),)
    """
    if loss.grad_fn is None:
        return Wiring(unreached=tuple(known))
    leaves, parents, whole = _leaves(loss.grad_fn)
    names = {id(tensor): name for name, tensor in known.items()}
    loose = _held_by_nobody(
        [
            leaf
            for key, leaf in leaves.items()
            if key not in names and isinstance(leaf, nn.Parameter)
        ]
    )
    unreached = [name for key, name in names.items() if key not in leaves]
    return Wiring(
        heads=_heads(loss.grad_fn),
        loose=tuple(sorted(tuple(leaf.shape) for leaf in loose)),
        unreached=tuple(unreached) if whole else (),
        whole=whole,
        after=_before(loose, parents, names),
    )


def _held_by_nobody(leaves: list[nn.Parameter]) -> list[nn.Parameter]:
    """Those that no optimizer of this process holds; looks for them only if need be."""
    if not leaves:
        return []
    held: set[int] = set()
    for one in gc.get_objects():
        # Not isinstance: it would run the code of lazy proxies.
        if issubclass(type(one), torch.optim.Optimizer):
            groups = getattr(one, "param_groups", ())
            held.update(id(weight) for group in groups for weight in group["params"])
    return [leaf for leaf in leaves if id(leaf) not in held]


def operation(node: Any) -> str:
    """The operation of an autograd node: "NllLossBackward0" gives "NllLoss"."""
    name = str(node.name()).rpartition("::")[2]
    return re.sub(r"(Fused)?Backward\d*(_\w+)?$", "", name)


def _leaves(root: Any) -> tuple[dict[int, torch.Tensor], dict[Any, Any], bool]:
    """Leaf tensors below a node by identity, who uses each node, if all were seen."""
    found: dict[int, torch.Tensor] = {}
    parents: dict[Any, Any] = {root: None}
    waiting = deque([root])
    while waiting:
        if len(parents) > MOST_NODES:
            return found, parents, False
        node = waiting.popleft()
        variable = getattr(node, "variable", None)
        if isinstance(variable, torch.Tensor):
            found[id(variable)] = variable
        for child, _ in node.next_functions:
            if child is not None and child not in parents:
                parents[child] = node
                waiting.append(child)
    return found, parents, not any(_opaque(node) for node in parents)


def _before(
    loose: list[nn.Parameter], parents: dict[Any, Any], names: Mapping[int, str]
) -> tuple[str, ...]:
    """Known parameters that come next before the loose ones in the graph."""
    mine = {id(leaf) for leaf in loose}
    ends = [n for n in parents if id(getattr(n, "variable", None)) in mine]
    found: dict[str, None] = {}
    for node in ends:
        user = parents[node]
        while user is not None and len(user.next_functions) < 2:
            user = parents[user]  # a transposed or cast weight
        name = _nearest(user, names) if user is not None else None
        if name is not None:
            found[name] = None
    return tuple(found)


def _nearest(node: Any, names: Mapping[int, str]) -> str | None:
    """The first known parameter below a node."""
    seen, waiting = {node}, deque([node])
    while waiting:
        one = waiting.popleft()
        name = names.get(id(getattr(one, "variable", None)))
        if name is not None:
            return name
        for child, _ in one.next_functions:
            if child is not None and child not in seen:
                seen.add(child)
                waiting.append(child)
    return None


def _opaque(node: Any) -> bool:
    """Whether a node hides a part of the graph, as re-computed segments do."""
    return "Checkpoint" in node.name() or "Compiled" in node.name()


def _heads(root: Any) -> tuple[tuple[str, ...], ...]:
    """Paths of operations from a node to the next weighted ones."""
    heads: dict[tuple[str, ...], None] = {}
    waiting: deque[tuple[Any, tuple[str, ...]]] = deque([(root, ())])
    visits = 0
    while waiting and len(heads) < MOST_HEADS and visits < 50 * LONGEST_HEAD:
        node, path = waiting.popleft()
        visits += 1
        name = operation(node)
        if name not in SHAPING:
            path = (*path, name)
        children = [child for child, _ in node.next_functions if child is not None]
        ends = name.startswith(WEIGHTED) or name == "AccumulateGrad" or not children
        if ends or len(path) >= LONGEST_HEAD:
            heads[path] = None
        else:
            waiting.extend((child, path) for child in children)
    return tuple(heads)
