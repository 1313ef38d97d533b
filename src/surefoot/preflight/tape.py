"""What is computed between a model and a loss: torch's calls come in, a Tape goes out.

It knows which loss functions were called with what, wherever in the code they stand,
and can compute the loss of a script again, although nobody gave a loss function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import nn
from torch.nn.modules import module as hooks
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

LOSSES: Mapping[str, str] = {
    "cross_entropy": "classes",
    "nll_loss": "log classes",
    "nll_loss_nd": "log classes",
    "binary_cross_entropy": "probability",
    "binary_cross_entropy_with_logits": "logit",
    "mse_loss": "number",
    "l1_loss": "number",
    "smooth_l1_loss": "number",
    "huber_loss": "number",
    "kl_div": "log classes",
    "multi_margin_loss": "classes",
    "gaussian_nll_loss": "number",
    "poisson_nll_loss": "number",
}
"""Loss functions of torch, and what their first argument is."""


@dataclass(frozen=True, slots=True)
class LossCall:
    """One call of a loss function of torch: its name and what it was given."""

    name: str
    output: torch.Tensor
    target: torch.Tensor
    settings: Mapping[str, Any]
    value: Any = None


@dataclass(slots=True)
class _Entry:
    call: Callable[..., Any]
    args: Any
    kwargs: Any
    result: Any
    autocast: tuple[tuple[str, torch.dtype], ...] = ()
    """The devices that were in autocast, and its number format."""


@dataclass(slots=True)
class ModelCall:
    """One outermost call of a module, and what came out."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any = None


class Tape(TorchFunctionMode):
    """Records from `with Tape() as tape:` on; only what depends on a module is kept.

    `losses` are the calls of known loss functions at any depth, `calls` the outermost
    calls of modules with gradients.
    """

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[LossCall] = []
        self.calls: list[ModelCall] = []
        self._entries: list[_Entry] = []
        self._known: dict[int, Any] = {}
        self._depth = 0
        self._handles: list[Any] = []

    def __enter__(self) -> Self:
        self._handles = [
            hooks.register_module_forward_pre_hook(self._entering),
            hooks.register_module_forward_hook(
                self._leaving, with_kwargs=True, always_call=True
            ),
        ]
        TorchFunctionMode.__enter__(self)
        return self

    def __exit__(self, *error: Any) -> None:
        TorchFunctionMode.__exit__(self, *error)
        for handle in self._handles:
            handle.remove()
            # torch 2.13 forgets this entry, and torch.compile takes it for a hook.
            hooks._global_forward_hooks_with_kwargs.pop(handle.id, None)  # pyright: ignore[reportPrivateUsage]

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Let torch do what was asked for, and take note of it."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if torch.is_grad_enabled():
            self._note_loss(func, args, kwargs, result)
            if self._depth == 0 and any(map(self._depends, _tensors((args, kwargs)))):
                self._keep(_Entry(func, args, kwargs, result, _autocast()))
        return result

    def replay(self, loss: torch.Tensor) -> torch.Tensor:
        """Compute a loss of this tape again, with the weights of now.

        Raises:
            ValueError: the loss was not computed on this tape.
        """
        new: dict[int, Any] = {}
        for entry in self._needed(loss):
            args, kwargs = _exchanged((entry.args, entry.kwargs), new)
            result = _called(entry, args, kwargs)
            pairs = zip(_tensors(entry.result), _tensors(result), strict=True)
            new |= {id(old): fresh for old, fresh in pairs}
        return new[id(loss)]

    def _needed(self, loss: torch.Tensor) -> list[_Entry]:
        """The entries that a loss depends on, in their order."""
        wanted, needed = {id(loss)}, list[_Entry]()
        for entry in reversed(self._entries):
            if any(id(one) in wanted for one in _tensors(entry.result)):
                needed.append(entry)
                wanted |= {id(one) for one in _tensors((entry.args, entry.kwargs))}
        if not needed:
            raise ValueError(
                "the loss came from outside of the tape; expected one that was "
                "computed from the outputs of a torch module; give it to "
                "surefoot.check with loss_fn="
            )
        return needed[::-1]

    def _entering(self, module: nn.Module, args: Any) -> None:
        self._depth += 1

    def _leaving(self, module: nn.Module, args: Any, *rest: Any) -> None:
        """A module returns; one that raises comes without keyword arguments."""
        self._depth -= 1
        result, kwargs = rest[-1], rest[0] if len(rest) > 1 else {}
        if self._depth == 0 and torch.is_grad_enabled() and result is not None:
            self.calls.append(ModelCall(module, args, kwargs, result))
            self._keep(_Entry(module, args, kwargs, result, _autocast()))

    def _keep(self, entry: _Entry) -> None:
        self._entries.append(entry)
        self._known |= {id(one): one for one in _tensors(entry.result)}

    def _depends(self, tensor: torch.Tensor) -> bool:
        return id(tensor) in self._known

    def _note_loss(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        name = getattr(func, "__name__", "")
        if name not in LOSSES:
            return
        given = [*args[:2], *(kwargs[k] for k in ("input", "target") if k in kwargs)]
        if len(given) >= 2 and all(isinstance(one, torch.Tensor) for one in given[:2]):
            rest = {k: v for k, v in kwargs.items() if k not in ("input", "target")}
            self.losses.append(LossCall(name, given[0], given[1], rest, result))


def _autocast() -> tuple[tuple[str, torch.dtype], ...]:
    on = [device for device in ("cpu", "cuda") if torch.is_autocast_enabled(device)]
    return tuple((device, torch.get_autocast_dtype(device)) for device in on)


def _called(entry: _Entry, args: Any, kwargs: Any) -> Any:
    """The call of an entry, in the autocast that it was first made in."""
    with ExitStack() as stack:
        for device, dtype in entry.autocast:
            stack.enter_context(torch.autocast(device, dtype))
        return entry.call(*args, **kwargs)


def _exchanged(tree: Any, new: Mapping[int, Any]) -> Any:
    """A nest with the tensors that were computed again in place of the old ones."""

    def exchange(one: Any) -> Any:
        return new.get(id(one), one)

    return pytree.tree_map(exchange, tree)


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [one for one in pytree.tree_leaves(tree) if isinstance(one, torch.Tensor)]
