"""A model comes in, the diagram of one of its residual blocks goes out.

What is drawn is what ran: the modules of the block and the functions between them, in
one forward pass, with what each was given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from surefoot.landscape import style
from surefoot.landscape.passes import names_of, run_once
from surefoot.types import LossFunction

SUMS: tuple[str, ...] = ("add", "add_", "__add__", "__radd__", "__iadd__")
"""Names of torch's functions that add."""


@dataclass(frozen=True, slots=True)
class Node:
    """One module or function of a block.

    Attributes:
        label: "conv1: Conv2d 16→16, 3×3" of a module, "relu" of a function.
        inputs: numbers of the nodes whose outputs it was given; 0 is what came in.
        shape: of its output, without the batch.
    """

    label: str
    inputs: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def is_sum(self) -> bool:
        """Whether it adds what two nodes gave."""
        return self.label == "+" and len(self.inputs) > 1


@dataclass(frozen=True, slots=True)
class Block:
    """A module and what runs in it: `nodes[0]` is what comes in, the last goes out."""

    name: str
    kind: str
    nodes: tuple[Node, ...]

    @property
    def residual(self) -> int | None:
        """The last node that adds to a branch what came in; None if there is none.

        Both of its terms depend on the input, by different ways.
        """
        reached = [index == 0 for index in range(len(self.nodes))]
        last = None
        for index, node in enumerate(self.nodes[1:], 1):
            reached[index] = any(reached[one] for one in node.inputs)
            if node.is_sum and all(reached[one] for one in node.inputs):
                last = index
        return last

    @property
    def trunk(self) -> tuple[int, ...]:
        """The longest way from the input to the output."""
        longest: list[tuple[int, ...]] = [(0,)]
        for index, node in enumerate(self.nodes[1:], 1):
            ways = [longest[one] for one in node.inputs]
            longest.append((*max(ways, key=len, default=()), index))
        return longest[-1]


@dataclass(slots=True)
class _Frame:
    """A module while it runs."""

    nodes: list[Node]
    known: dict[int, int]
    held: list[Any] = field(default_factory=list[Any])


def residual_block(
    model: nn.Module,
    batch: Any,
    *,
    loss_fn: LossFunction | None = None,
    where: str | None = None,
) -> Block:
    """What runs in a block.

    The pass leaves no trace in the model.

    Args:
        model: any; nothing of it needs to be scriptable.
        batch: as of `loss_fn`, or inputs.
        loss_fn: how the model is run.
        where: the name of the block; by default the first that adds to a branch what
            came in.

    Raises:
        ValueError: no module of that name ran, or none adds to what came in.

    >>> class Residual(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.inner = nn.Linear(4, 4)
    ...     def forward(self, x):
    ...         return x + self.inner(x).relu()
    >>> block = residual_block(nn.Sequential(Residual()), torch.ones(2, 4))
    >>> [(node.label, node.inputs) for node in block.nodes[1:]]
    [('inner: Linear 4→4', (0,)), ('relu', (1,)), ('+', (0, 2))]
    """
    blocks = blocks_of(model, batch, loss_fn=loss_fn)
    for one in blocks:
        if one.name == where or (where is None and one.residual is not None):
            return one
    names = ", ".join(one.name for one in blocks[:8])
    if where is None:
        raise ValueError(
            f"no module of {type(model).__name__} adds to a branch what came in; name "
            f"one with where=; there are {names}"
        )
    raise ValueError(f'no module "{where}" with others in it ran; there are {names}')


def blocks_of(
    model: nn.Module, batch: Any, *, loss_fn: LossFunction | None = None
) -> tuple[Block, ...]:
    """What runs in each module that holds others, outermost and first ones first."""
    tape = _Tape(names_of(model))
    modules = [one for one in model.modules() if any(True for _ in one.children())]
    every = list(model.modules())
    handles = [one.register_forward_pre_hook(tape.enter) for one in every]
    handles += [one.register_forward_hook(tape.leave) for one in every]
    try:
        with tape:
            run_once(model, batch, loss_fn=loss_fn)
    finally:
        for handle in handles:
            handle.remove()
    return tuple(tape.blocks[one] for one in modules if one in tape.blocks)


class _Tape(TorchFunctionMode):
    """Takes note of modules and functions, each in the module that called it."""

    def __init__(self, names: dict[nn.Module, str]) -> None:
        super().__init__()
        self.blocks: dict[nn.Module, Block] = {}
        self._names, self._frames = names, list[_Frame]()

    def enter(self, module: nn.Module, args: Any) -> None:
        """A module begins: what it was given is its node 0."""
        given = _tensors(args)
        shape = tuple(given[0].shape[1:]) if given else ()
        frame = _Frame([Node("input", (), shape)], {id(one): 0 for one in given})
        frame.held += given
        self._frames.append(frame)

    def leave(self, module: nn.Module, args: Any, output: Any) -> None:
        """A module ends: a node of the one that called it."""
        frame = self._frames.pop()
        name, kind = self._names[module], type(module).__name__
        self.blocks.setdefault(module, Block(name, kind, tuple(_used(frame, output))))
        if not isinstance(module, nn.Identity):
            own = f"{name.rpartition('.')[2]}: {described(module)}"
            self._note(own, _tensors(args), output)

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Let torch do what was asked for, and take note of it."""
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        label = "+" if name in SUMS else name.strip("_")
        if name != "__get__":
            self._note(label, _tensors((args, kwargs)), result)
        return result

    def _note(self, label: str, given: list[Any], result: Any) -> None:
        """A node of the module that runs, if it goes on from what is known there."""
        if not self._frames:
            return
        frame, made = self._frames[-1], _tensors(result)
        inputs = dict.fromkeys(
            frame.known[id(one)] for one in given if id(one) in frame.known
        )
        if inputs and made:
            shape = tuple(made[0].shape[1:])
            frame.nodes.append(Node(label, tuple(inputs), shape))
            frame.known |= {id(one): len(frame.nodes) - 1 for one in made}
            frame.held += made  # as long as they live, no other has their id


def _used(frame: _Frame, output: Any) -> Iterator[Node]:
    """The nodes that the output depends on, numbered anew."""
    made = _tensors(output)
    last = frame.known.get(id(made[0])) if made else None
    wanted = {0} if last is None else {0, last}
    for index in range(len(frame.nodes) - 1, 0, -1):
        if index in wanted:
            wanted |= set(frame.nodes[index].inputs)
    number = {old: new for new, old in enumerate(sorted(wanted))}
    for old in sorted(wanted):
        node = frame.nodes[old]
        inputs = tuple(number[one] for one in node.inputs)
        yield Node(node.label, inputs, node.shape)


def described(module: nn.Module) -> str:
    """The class of a module, and the numbers that matter most.

    >>> described(nn.Conv2d(3, 16, 3, stride=2))
    'Conv2d 3→16, 3×3, stride 2'
    """
    kind = type(module).__name__
    if isinstance(module, nn.Sequential) and 0 < len(module) <= 2:
        return ", ".join(type(one).__name__ for one in module)
    if isinstance(module, nn.Linear):
        return f"{kind} {module.in_features}→{module.out_features}"
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        sides = "×".join(map(str, module.kernel_size))
        stride = f", stride {module.stride[0]}" if set(module.stride) != {1} else ""
        return f"{kind} {module.in_channels}→{module.out_channels}, {sides}{stride}"
    for name in ("num_features", "num_channels", "normalized_shape"):
        size = getattr(module, name, None)
        if size is not None:
            return f"{kind} {'×'.join(map(str, size)) if name[0:4] == 'norm' else size}"
    rate = getattr(module, "p", None)
    return f"{kind} {rate:g}" if isinstance(rate, float) else kind


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [one for one in pytree.tree_leaves(tree) if isinstance(one, torch.Tensor)]


# --- drawing --------------------------------------------------------------------

PITCH = 0.62
WIDE, HIGH, RADIUS = 2.7, 0.4, 0.17
"""Of the drawn boxes, the way from one to the next, and of a sum; in one unit."""


def block_diagram(
    model: nn.Module,
    batch: Any,
    *,
    loss_fn: LossFunction | None = None,
    where: str | None = None,
) -> Figure:
    """A residual block, top to bottom: its branch, and what goes around it.

    Arguments and errors are those of `residual_block`.
    """
    block = residual_block(model, batch, loss_fn=loss_fn, where=where)
    places = _layout(block)
    low = min(y for _, y in places)
    wide = 4.9 if any(x > 0 for x, _ in places) else 2.6
    with style.styled():
        made = style.figure(0.9 * (wide + 2.4), 0.9 * (0.7 - low) + 0.5)
        axes = made.add_subplot()
        for index, node in enumerate(block.nodes):
            _add_node(axes, node, places[index])
            for one in node.inputs:
                _add_arrow(axes, places, one, index)
        axes.set_aspect("equal")
        axes.set(xlim=(-2.4, wide), ylim=(low - 0.4, 0.3))
        axes.axis("off")
        heading = " ".join(dict.fromkeys((block.kind, block.name)))
        made.suptitle(heading, x=0.02, ha="left", fontweight="bold", fontsize=12)
    return made


def _layout(block: Block) -> list[tuple[float, float]]:
    """The longest way goes down the middle, all else beside it on the right."""
    trunk = block.trunk
    height = {index: -PITCH * rank for rank, index in enumerate(trunk)}
    places: list[tuple[float, float]] = []
    for index, node in enumerate(block.nodes):
        if index in height:
            places.append((0.0, height[index]))
        else:
            above = max((places[one][1] for one in node.inputs), default=0.0)
            shift = 1.5 if all(places[one][0] == 0 for one in node.inputs) else 1.0
            places.append((3.1, above - shift * PITCH))
    return places


def _add_node(axes: Any, node: Node, at: tuple[float, float]) -> None:
    x, y = at
    middle: Mapping[str, Any] = {"ha": "center", "va": "center", "zorder": 4}
    if node.label == "+":
        axes.add_patch(Circle(at, RADIUS, fc=style.LINES[0], ec="none", zorder=3))
        axes.text(x, y - 0.01, "+", color=style.PAPER, fontsize=14, **middle)
    elif node.inputs:
        axes.add_patch(_box(x, y, aside=x > 0))
        axes.text(x, y, node.label, fontsize=8.5, **middle)
    else:
        axes.text(x, y, node.label, fontweight="bold", **middle)
    if node.shape and x == 0:
        size = "×".join(map(str, node.shape))
        axes.text(-1.45, y, size, ha="right", va="center", color=style.FAINT)


def _box(x: float, y: float, *, aside: bool) -> FancyBboxPatch:
    return FancyBboxPatch(
        (x - WIDE / 2, y - HIGH / 2), WIDE, HIGH, zorder=3,
        boxstyle="round,pad=0,rounding_size=0.08", linewidth=0.9,
        facecolor="#FBE6D8" if aside else "#E4EDF5",
        edgecolor=style.LINES[0] if aside else style.LINES[1],
    )  # fmt: skip


def _add_arrow(
    axes: Any, places: Sequence[tuple[float, float]], start: int, end: int
) -> None:
    """Straight down where one follows the other; else around, in another colour."""
    (x0, y0), (x1, y1) = places[start], places[end]
    top = HIGH / 2 if x1 == 0 or y0 != y1 else 0.0
    if x0 == x1 and abs(y0 - y1) < 1.01 * PITCH:
        _tip(axes, ((x0, y0 - HIGH / 2), (x1, y1 + top)), style.INK)
        return
    # It leaves below its node, and comes in from the right: each way by itself.
    leave = y0 - (0.3 if x0 == 0 else HIGH / 2)
    bend = max(x0, x1) if x0 != x1 else WIDE / 2 + 0.3 + 0.2 * (start % 2)
    colour = style.LINES[0]
    if x1 > 0:
        axes.plot([x0, bend], [leave, leave], color=colour, linewidth=1.4, zorder=1)
        _tip(axes, ((bend, leave), (bend, y1 + HIGH / 2)), colour)
    else:
        ways = [x0, bend, bend], [leave, leave, y1]
        axes.plot(*ways, color=colour, linewidth=1.4, zorder=1)
        _tip(axes, ((bend, y1), (RADIUS, y1)), colour)


def _tip(
    axes: Any, ends: tuple[tuple[float, float], tuple[float, float]], colour: str
) -> None:
    axes.add_patch(
        FancyArrowPatch(
            *ends, arrowstyle="-|>", mutation_scale=10, linewidth=1.4, color=colour,
            shrinkA=0, shrinkB=0, zorder=2,
        )
    )  # fmt: skip
