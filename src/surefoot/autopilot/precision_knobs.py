"""A run in half precision comes in, in float32 it goes on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from surefoot.autopilot.live import Applied, KnobError, Live, word_of
from surefoot.restore.hooks import VanishingHook
from surefoot.types import Change

HALF = (torch.float16, torch.bfloat16)


def use_float32(live: Live, change: Change) -> Applied:
    """Compute forward passes in float32: without autocast, half weights widened.

    Half inputs of the models are widened too. Moments of widened weights go with them.

    Raises:
        KnobError: another precision was asked for, or half weights are sharded.
    """
    word_of(change, ("float32",))
    roots = list(live.models.values())
    own = {id(t): t for root in roots for t in (*root.parameters(), *root.buffers())}
    half = [tensor for tensor in own.values() if tensor.dtype in HALF]
    if any(hasattr(tensor, "full_tensor") for tensor in half):
        raise KnobError(
            "the change precision set float32 came for sharded half weights; expected "
            "whole ones; set the precision where the model is sharded"
        )
    widened = [_Widened(tensor, live) for tensor in half]
    handles = [handle for root in roots for handle in _around(root)]

    def undo() -> None:
        for handle in handles:
            handle.remove()
        for one in widened:
            one.narrow()

    before = f"{len(half)} half tensors" if half else "autocast where the script has it"
    return Applied(before, "forward passes in float32", undo)


class _Widened:
    """A half tensor, its gradient and its moments, held in float32."""

    def __init__(self, tensor: Tensor, live: Live) -> None:
        self._tensor, self._dtype = tensor, tensor.dtype
        states = [o.state[tensor] for o in live.optimizers if tensor in o.state]
        self._moments = [
            (state, key, value.dtype)
            for state in states
            for key, value in state.items()
            if isinstance(value, Tensor) and value.dtype in HALF
        ]
        _cast(tensor, torch.float32)
        for state, key, _ in self._moments:
            state[key] = state[key].float()

    def narrow(self) -> None:
        """Back to half: what was not changed since has the bits it had."""
        _cast(self._tensor, self._dtype)
        for state, key, dtype in self._moments:
            state[key] = state[key].to(dtype)


def _cast(tensor: Tensor, dtype: torch.dtype) -> None:
    """Another type for the same parameter or buffer, and for its gradient."""
    grad, tensor.grad = tensor.grad, None
    tensor.data = tensor.data.to(dtype)
    tensor.grad = None if grad is None else grad.to(dtype)


class _Enter(VanishingHook):
    """Before a forward pass: autocast off, half inputs widened."""

    def __init__(self, contexts: list[Any]) -> None:
        self._contexts = contexts

    def __call__(self, module: nn.Module, args: Any, kwargs: Any) -> Any:
        context = torch.autocast(_device_of(module), enabled=False)
        context.__enter__()
        self._contexts.append(context)
        return pytree.tree_map(_wide, args), pytree.tree_map(_wide, kwargs)


class _Leave(VanishingHook):
    """After it, well or not."""

    def __init__(self, contexts: list[Any]) -> None:
        self._contexts = contexts

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        if self._contexts:
            self._contexts.pop().__exit__(None, None, None)


def _around(root: nn.Module) -> tuple[Any, Any]:
    contexts: list[Any] = []
    return (
        root.register_forward_pre_hook(_Enter(contexts), with_kwargs=True),
        root.register_forward_hook(_Leave(contexts), always_call=True),
    )


def _device_of(module: nn.Module) -> str:
    tensor = next(module.parameters(), None)
    return "cpu" if tensor is None else tensor.device.type


def _wide(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype in HALF else value
