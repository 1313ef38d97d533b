"""A model that trains and the name of a layer come in; that layer begins anew."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim import Optimizer

from surefoot.nn.init.errors import InitError
from surefoot.nn.init.places import module_at


def reinitialize(
    model: nn.Module, name: str, optimizer: Optimizer | None = None
) -> tuple[str, ...]:
    """Draw a layer anew, and let the optimizer forget what it knows of it.

    `reset_parameters` of the layer and of all in it is called; running statistics start
    anew too. No other tensor changes, and no other state of the optimizer.

    Args:
        model: changed in place.
        name: of a module, as in `named_modules`.
        optimizer: forgets the moments and the step of the layer's parameters.

    Returns:
        The names of the parameters that were drawn anew.

    Raises:
        InitError: a module in it cannot be reset: it has no `reset_parameters`, one
            that leaves a weight as it is, is reparametrised, or shares a weight with
            another part; the message names it. Nothing was changed.

    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    >>> adam = torch.optim.Adam(model.parameters())
    >>> reinitialize(model, "1", adam)
    ('1.weight', '1.bias')
    """
    part = module_at(model, name)
    resets = {
        f"{name}.{inner}".strip("."): _reset(f"{name}.{inner}".strip("."), module)
        for inner, module in part.named_modules()
        if next(module.parameters(recurse=False), None) is not None
        or any(True for _ in module.buffers(recurse=False))
    }
    own = {f"{name}.{k}".strip("."): p for k, p in part.named_parameters()}
    _check_unshared(model, part, own)
    if not own:
        raise InitError(f"{name!r} has no parameters; expected a layer that has")
    kept = [(t, t.detach().clone()) for t in (*own.values(), *part.buffers())]
    before = {key: parameter._version for key, parameter in own.items()}
    for reset in resets.values():
        reset()
    same = [key for key, parameter in own.items() if parameter._version == before[key]]
    if same:
        _put_back(kept)
        raise InitError(
            f"reset_parameters left {', '.join(same)} as it was; expected one that "
            "draws all parameters of its module"
        )
    for parameter in own.values():
        parameter.grad = None
        if optimizer is not None:
            optimizer.state.pop(parameter, None)
    return tuple(own)


def _reset(name: str, module: nn.Module) -> Callable[[], None]:
    """What draws the parameters of one module."""
    if parametrize.is_parametrized(module) or isinstance(
        module, parametrize.ParametrizationList
    ):
        raise InitError(
            f"{name} ({type(module).__name__}) has a parametrisation, which a reset "
            "would not reach; remove it first, and register it again afterwards"
        )
    # torch's attention keeps its own under a private name.
    private = "_reset_parameters" if isinstance(module, nn.MultiheadAttention) else ""
    reset = getattr(module, "reset_parameters", getattr(module, private, None))
    if reset is None:
        raise InitError(
            f"{name} ({type(module).__name__}) has no reset_parameters(); expected a "
            "layer of torch, or define one that draws its parameters"
        )
    return reset


def _check_unshared(
    model: nn.Module, part: nn.Module, own: dict[str, nn.Parameter]
) -> None:
    inside = {id(module) for module in part.modules()}
    ids = {id(parameter): key for key, parameter in own.items()}
    for name, module in model.named_modules():
        if id(module) in inside:
            continue
        for key, parameter in module.named_parameters(recurse=False):
            if id(parameter) in ids:
                also = f"{name}.{key}".strip(".")
                raise InitError(
                    f"{ids[id(parameter)]} is also {also}; expected a layer with "
                    "weights of its own"
                )


@torch.no_grad()
def _put_back(kept: list[tuple[Tensor, Tensor]]) -> None:
    for tensor, value in kept:
        tensor.copy_(value)
