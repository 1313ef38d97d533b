"""One forward pass under observation: calls of the model come in, operations go out.

Used on a failing step only. Each operation is recorded with the module it ran in,
the source line, whether its inputs and outputs were finite, and which operations
made its inputs.
"""

from __future__ import annotations

import inspect
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import torch
from torch import nn
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils import _pytree as pytree

Health = Literal["finite", "infinite", "nan"]

_OWN = (str(Path(torch.__file__).parent), str(Path(__file__).parent.parent))


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of a torch function while a model ran.

    `parents` are the places in the trace of the operations that made the inputs;
    `deliberate` means that a non-finite number was passed in by hand, as masks do.
    `dtype` is that of the output, such as "torch.float16".
    """

    name: str
    module: str
    line: str
    inputs: Health
    output: Health
    parents: tuple[int, ...]
    deliberate: bool
    node: Any = None
    dtype: str = ""


def health(tensors: Sequence[torch.Tensor]) -> Health:
    """The worst of some tensors: NaN is worse than infinite."""
    worst: Health = "finite"
    for tensor in tensors:
        if not (tensor.is_floating_point() or tensor.is_complex()):
            continue
        if torch.isnan(tensor).any():
            return "nan"
        if torch.isinf(tensor).any():
            worst = "infinite"
    return worst


class Trace(TorchFunctionMode):
    """Records every torch function called while it is active, in `operations`."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self.modules: list[str] = [""]
        self._maker: dict[int, int] = {}
        self._alive: list[Any] = []

    def made(self, value: Any) -> int | None:
        """The place in the trace of the operation that made a tensor."""
        return self._maker.get(id(value))

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run one function as it is, and remember what it did."""
        inputs = tensors_in((args, kwargs))
        before = health(inputs)
        output = func(*args, **(kwargs or {}))
        outputs = tensors_in(output)
        if outputs:
            self._remember(func, (args, kwargs), inputs, before, outputs)
        return output

    def _remember(
        self,
        func: Any,
        arguments: Any,
        inputs: list[torch.Tensor],
        before: Health,
        outputs: list[torch.Tensor],
    ) -> None:
        parents = {self._maker[id(t)] for t in inputs if id(t) in self._maker}
        place = len(self.operations)
        self.operations.append(
            Operation(
                name=str(resolve_name(func) or func).removeprefix("torch."),
                module=self.modules[-1],
                line=user_line(inspect.currentframe()),
                inputs=before,
                output=health(outputs),
                parents=tuple(sorted(parents)),
                deliberate=_by_hand(arguments),
                node=outputs[0].grad_fn,
                dtype=str(outputs[0].dtype),
            )
        )
        for tensor in outputs:
            self._maker[id(tensor)] = place
        # Kept, so that no identity is used twice while the trace is read.
        self._alive += [*inputs, *outputs]


def tensors_in(value: Any) -> list[torch.Tensor]:
    """All tensors in nested containers."""
    leaves: list[Any] = pytree.tree_leaves(value)
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]


def _by_hand(arguments: Any) -> bool:
    """Whether a plain number among the arguments is not finite."""
    numbers = [x for x in pytree.tree_leaves(arguments) if isinstance(x, float)]
    return any(x != x or x in (float("inf"), float("-inf")) for x in numbers)


def user_line(frame: FrameType | None) -> str:
    """The innermost frame outside torch and Surefoot, such as "train.py:12"."""
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith((*_OWN, "<")):
            return f"{Path(name).name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


@contextmanager
def module_names(trace: Trace, named: Mapping[str, nn.Module]) -> Generator[None]:
    """While active, the trace knows which module an operation runs in."""

    def enter(name: str) -> Any:
        def push(module: nn.Module, inputs: Any) -> None:
            trace.modules.append(name)

        return push

    def leave(module: nn.Module, inputs: Any, output: Any) -> None:
        trace.modules.pop()

    with ExitStack() as stack:
        for name, module in named.items():
            for handle in (
                module.register_forward_pre_hook(enter(name)),
                module.register_forward_hook(leave, always_call=True),
            ):
                stack.callback(handle.remove)
        yield


def origin(trace: Trace, last: int) -> Operation:
    """The operation where a non-finite output began, walking back from `last`.

    A NaN made of infinities goes back to what overflowed, unless the infinities
    were put there by hand: then the operation that could not digest them is it.
    """
    operation = trace.operations[last]
    while operation.inputs != "finite":
        parents = [trace.operations[i] for i in operation.parents]
        guilty = [p for p in parents if p.output == operation.inputs]
        if not guilty:
            return operation
        if operation.output == "nan" and all(
            p.output == "infinite" and _masked(trace, p) for p in guilty
        ):
            return operation
        operation = guilty[0]
    return operation


def _masked(trace: Trace, operation: Operation) -> bool:
    """Whether an infinity was written by hand, here or in what this was made of."""
    while not operation.deliberate:
        parents = [trace.operations[i] for i in operation.parents]
        guilty = [p for p in parents if p.output != "finite"]
        if not guilty:
            return False
        operation = guilty[0]
    return True
