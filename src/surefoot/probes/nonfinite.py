"""Where a non-finite number was born: the calls of a step come in, its origin goes out.

The forward calls of the failing step are run again, with the same inputs, random
numbers and buffers, under observation. If the forward pass is finite, the backward
pass of the model is run with a random cotangent, each node of it watched.
Everything is restored: the run goes on as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from torch import nn

from surefoot.probes.trace import (
    Operation,
    Trace,
    health,
    module_names,
    origin,
    tensors_in,
)

LEAF = "torch::autograd::AccumulateGrad"
"""The node of a parameter, or of any other tensor that a gradient is kept for."""


@dataclass(frozen=True, slots=True)
class Call:
    """One forward call of a model, as it can be run again.

    Tensors in `args` and `kwargs` are detached and not copied. `training` is the
    mode of the module.
    """

    module: nn.Module
    args: Any
    kwargs: Any
    rng: torch.Tensor
    autocast: tuple[str, bool, torch.dtype]
    training: bool = True


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the first non-finite number came from.

    `certain` is False where the code that made it cannot be run again, such as a
    loss computed outside any module. `dtype` is that of the operation's output.
    """

    module: str
    operation: str
    line: str
    direction: Literal["forward", "backward", "update", "data"]
    certain: bool
    dtype: str = ""

    def body(self) -> dict[str, Any]:
        """The origin as JSON values."""
        return asdict(self)


def locate(calls: Sequence[Call], names: Mapping[str, nn.Module]) -> Origin:
    """The origin of a non-finite loss or gradient, before the update is applied.

    `names` maps layer names to all modules inside the models that were called.
    """
    own_weights = [*names.items(), *(("model", call.module) for call in calls)]
    for name, module in own_weights:
        for own, weight in module.named_parameters(recurse=False):
            if health([weight.detach()]) != "finite":
                return Origin(name, f"update of {own}", "", "update", certain=True)
    for call in calls:
        if health(tensors_in((call.args, call.kwargs))) != "finite":
            return Origin("input", "data", "", "data", certain=True)
    for call in calls:
        with _again(call):
            found = _replayed(call, names)
        if found is not None:
            return found
    return Origin("loss", "", "", "backward", certain=False)


def _replayed(call: Call, names: Mapping[str, nn.Module]) -> Origin | None:
    """Forward, then backward, of one call under observation."""
    found = _observed(
        call, names, lambda: call.module.forward(*call.args, **call.kwargs)
    )
    if found is None or found.module:
        return found
    return replace(found, module="model")


def locate_in_loss(
    loss_fn: Callable[[nn.Module, Any], torch.Tensor],
    call: Call,
    *,
    twin: nn.Module,
    batch: Any,
) -> Origin | None:
    """The origin in a loss computed outside the model, from a copy of the model."""
    names = {name or "model": module for name, module in twin.named_modules()}
    again = replace(call, module=twin)
    with _again(again):
        found = _observed(again, names, lambda: loss_fn(twin, batch))
    if found is None or found.module:
        return found
    return replace(found, module="loss")


def _observed(
    call: Call, names: Mapping[str, nn.Module], compute: Callable[[], Any]
) -> Origin | None:
    """Compute something and its gradient, and find what broke on the way."""
    trace = Trace()
    device, enabled, dtype = call.autocast
    with (
        torch.enable_grad(),
        torch.autocast(device, dtype=dtype, enabled=enabled),
        module_names(trace, names),
        trace,
    ):
        output = compute()
    results = tensors_in(output)
    for tensor in results:
        last = trace.made(tensor)
        if last is not None and trace.operations[last].output != "finite":
            born = origin(trace, last)
            if born.deliberate and trace.operations[last].output == "infinite":
                continue
            return _origin_of(born, "forward")
    return _backward(trace, results)


def _origin_of(
    operation: Operation, direction: Literal["forward", "backward"]
) -> Origin:
    return Origin(
        module=operation.module,
        operation=operation.name,
        line=operation.line,
        direction=direction,
        certain=True,
        dtype=operation.dtype,
    )


def _backward(trace: Trace, results: list[torch.Tensor]) -> Origin | None:
    """The node that turned finite gradients into non-finite ones."""
    outputs = [tensor for tensor in results if tensor.grad_fn is not None]
    leaves = [n.variable for n in _nodes(outputs) if n.name() == LEAF]
    if not leaves:
        return None
    owner = _owners(trace)
    guilty: list[Any] = []

    def watch(node: Any) -> Callable[..., None]:
        def after(to_inputs: Any, from_outputs: Any) -> None:
            if guilty or health(tensors_in(from_outputs)) != "finite":
                return
            if health(tensors_in(to_inputs)) != "finite":
                guilty.append(node)

        return after

    handles = [
        node.register_hook(watch(node))
        for node in _nodes(outputs)
        if node.name() != LEAF
    ]
    generator = torch.Generator(device="cpu").manual_seed(0)
    cotangents = [
        torch.randn(t.shape, generator=generator).to(t.device, t.dtype) for t in outputs
    ]
    torch.autograd.grad(outputs, leaves, cotangents)
    for handle in handles:
        handle.remove()
    if not guilty:
        return None
    operation = owner.get(guilty[0])
    if operation is None:
        return Origin("", guilty[0].name(), "", "backward", certain=False)
    return _origin_of(operation, "backward")


def _nodes(outputs: Sequence[torch.Tensor]) -> Iterator[Any]:
    """All nodes of the graph behind some tensors."""
    waiting = [tensor.grad_fn for tensor in outputs]
    seen: set[Any] = set()
    while waiting:
        node: Any = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        waiting += [parent for parent, _ in node.next_functions]
        yield node


def _owners(trace: Trace) -> dict[Any, Operation]:
    """Which operation each graph node belongs to: a function may make several."""
    owner = {op.node: op for op in trace.operations if op.node is not None}
    for node, operation in list(owner.items()):
        waiting = [parent for parent, _ in node.next_functions]
        while waiting:
            inner: Any = waiting.pop()
            if inner is None or inner in owner:
                continue
            owner[inner] = operation
            waiting += [parent for parent, _ in inner.next_functions]
    return owner


@contextmanager
def _again(call: Call) -> Generator[None]:
    """The random streams and buffers of a call, put back afterwards."""
    now = torch.get_rng_state()
    # Copies stand in for the buffers: writing to the originals, even to put them
    # back, would break a backward pass that is still to come.
    buffers = [(module, dict(module._buffers)) for module in call.module.modules()]  # pyright: ignore[reportPrivateUsage]
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    device_states = [torch.cuda.get_rng_state(i) for i in devices]
    torch.set_rng_state(call.rng)
    for module, originals in buffers:
        for name, buffer in originals.items():
            module._buffers[name] = None if buffer is None else buffer.clone()  # pyright: ignore[reportPrivateUsage]
    try:
        yield
    finally:
        torch.set_rng_state(now)
        for i, state in zip(devices, device_states, strict=True):
            torch.cuda.set_rng_state(state, i)
        for module, originals in buffers:
            module._buffers.update(originals)  # pyright: ignore[reportPrivateUsage]


def loss_origin(loss: torch.Tensor, line: str) -> Origin:
    """The operation of a loss graph, outside any module, that broke; read, not run.

    Called before backward, while the graph still holds its inputs.
    """
    for node in _nodes([loss]):
        saved = {
            name.removeprefix("_saved_"): getattr(node, name)
            for name in dir(node)
            if name.startswith("_saved_")
        }
        tensors = {k: v for k, v in saved.items() if isinstance(v, torch.Tensor)}
        if (
            tensors
            and health(list(tensors.values())) == "finite"
            and _breaks(node, tensors)
        ):
            return Origin("loss", _operation_name(node), line, "forward", certain=True)
    name = _operation_name(loss.grad_fn) if loss.grad_fn is not None else ""
    return Origin("loss", name, line, "forward", certain=False)


def _operation_name(node: Any) -> str:
    return str(node.name()).rstrip("0123456789").removesuffix("Backward").lower()


def _breaks(node: Any, saved: Mapping[str, torch.Tensor]) -> bool:
    """Whether finite inputs of a node lie where its function is not defined."""
    kind = _operation_name(node)
    if kind in ("log", "log2", "log10"):
        return bool((saved["self"] <= 0).any())
    if kind == "log1p":
        return bool((saved["self"] <= -1).any())
    if kind == "div" and "other" in saved:
        return bool((saved["other"] == 0).any())
    if kind == "pow" and "self" in saved:
        return bool((saved["self"] <= 0).any())
    return False
