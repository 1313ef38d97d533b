"""A live model comes in, is worked on, and goes out as it was, bit for bit.

What is done to a model happens between `Snapshot(...)` and `restore()`; nothing else
outlives it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from surefoot.restore.module_state import ModuleState
from surefoot.restore.random_streams import RandomStreams


class Snapshot:
    """The state of a model, its optimizer, a batch and all random streams.

    Weights, buffers, gradients, optimizer state and settings, training flags and
    plain attributes of modules are kept by value and put back into the same objects.
    Takes as much memory as they do. Hooks of a watched run are lifted until
    `restore`, so that nothing of a check is recorded.
    """

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer | None, batch: Any
    ) -> None:
        self._optimizer = optimizer
        self._modules = [ModuleState(module) for module in model.modules()]
        held = () if optimizer is None else _held(optimizer)
        weights = {id(t): t for t in (*model.parameters(), *held)}
        own = {**weights, **{id(b): b for b in model.buffers()}}
        given = [t for t in pytree.tree_leaves(batch) if isinstance(t, torch.Tensor)]
        self._values = [(t, t.detach().clone()) for t in own.values()]
        self._given = [(t, t.detach().clone()) for t in given]
        self._gradients = [_Gradient(weight) for weight in weights.values()]
        self._groups = [] if optimizer is None else _groups(optimizer)
        self._state = {} if optimizer is None else _kept(dict(optimizer.state))
        self.random = RandomStreams()

    def restore(self) -> None:
        """Put everything back, hooks included."""
        self.rewind()
        for module in self._modules:
            module.put_hooks_back()
        for gradient in self._gradients:
            gradient.restore()

    @torch.no_grad()
    def rewind(self) -> None:
        """Put back values, modes and random streams, to begin another trial."""
        for module in self._modules:
            module.restore()
        for tensor, value in (*self._values, *self._given):
            tensor.copy_(value)
        for gradient in self._gradients:
            gradient.clear()
        if self._optimizer is not None:
            for group, kept in zip(
                self._optimizer.param_groups, self._groups, strict=True
            ):
                _refill(group, kept)
            self._optimizer.state.clear()
            self._optimizer.state.update(_original(self._state))
        self.random.restore()


class _Gradient:
    """The gradient of one weight: the same object with the same values."""

    def __init__(self, weight: torch.Tensor) -> None:
        self._weight, self._grad = weight, weight.grad
        self._value = None if weight.grad is None else weight.grad.detach().clone()

    def clear(self) -> None:
        """No gradient, as at the start of a step."""
        self._weight.grad = None

    @torch.no_grad()
    def restore(self) -> None:
        """The gradient that was there before."""
        if self._grad is not None and self._value is not None:
            self._grad.copy_(self._value)
        self._weight.grad = self._grad


def _held(optimizer: torch.optim.Optimizer) -> Iterator[torch.Tensor]:
    for group in optimizer.param_groups:
        yield from group["params"]


def _groups(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """The settings of each group; its list of parameters stays the same object."""
    return [
        {k: v if k == "params" else _kept(v) for k, v in group.items()}
        for group in optimizer.param_groups
    ]


def _refill(group: dict[str, Any], kept: dict[str, Any]) -> None:
    """Put the settings of a group back; its parameters were never taken out."""
    for name in group.keys() - kept.keys():
        del group[name]
    group.update({k: _original(v) for k, v in kept.items() if k != "params"})


class _Kept:
    """A tensor and its value."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor, self.value = tensor, tensor.detach().clone()


def _kept(value: Any) -> Any:
    """A nest of plain containers with the value of every tensor in it."""
    if isinstance(value, torch.Tensor):
        return _Kept(value)
    if isinstance(value, dict):
        return {key: _kept(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(_kept(inner) for inner in _items(value))
    return copy.deepcopy(value)


def _items(value: Any) -> Iterable[Any]:
    return value


def _original(kept: Any) -> Any:
    """The nest again, with the same tensors holding their kept values."""
    if isinstance(kept, _Kept):
        return kept.tensor.copy_(kept.value)
    if isinstance(kept, dict):
        return {key: _original(inner) for key, inner in kept.items()}
    if isinstance(kept, (list, tuple)) and not hasattr(kept, "_fields"):
        return type(kept)(_original(inner) for inner in _items(kept))
    return copy.deepcopy(kept)
