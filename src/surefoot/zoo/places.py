"""Where a fault can sit: a model comes in, names of layers and places go out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import nn

from surefoot.zoo.task import Rng, Task

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def named(model: nn.Module, kinds: Any) -> list[str]:
    """Names of the modules of some kinds."""
    return [name for name, one in model.named_modules() if isinstance(one, kinds)]


def weighted(model: nn.Module) -> list[str]:
    """Names of the linear and convolutional layers, in order."""
    return named(model, WEIGHTED)


def module(model: nn.Module, name: str) -> Any:
    """The module of that name."""
    return model.get_submodule(name)


def parameters_of(model: nn.Module, name: str) -> tuple[str, ...]:
    """Names of the parameters of a module, and the module's own."""
    own = module(model, name).named_parameters()
    return (name, *(f"{name}.{inner}" for inner, _ in own))


def following(model: nn.Module, name: str, kinds: Any) -> tuple[str, ...]:
    """The first module of some kinds that comes after another, if there is one."""
    order = [one for one, _ in model.named_modules()]
    after = [one for one in named(model, kinds) if order.index(one) > order.index(name)]
    return tuple(after[:1])


def middle(task: Task, rng: Rng) -> int:
    """A step between three and six tenths of the run."""
    return int(task.steps * rng.uniform(0.3, 0.6))


def late(task: Task, rng: Rng) -> int:
    """A step so near the end that the run does not recover: 15 to 30 before it."""
    return task.steps - int(rng.integers(15, 31))


def hidden_layer(task: Task, rng: Rng) -> str:
    """A linear or convolutional layer that is not the last one."""
    return str(rng.choice(weighted(task.model)[:-1]))


def insert(task: Task, rng: Rng, new: nn.Module) -> str:
    """Put a module without parameters between two parts of the model; its name."""
    model: Any = task.model
    if isinstance(model, nn.Sequential):
        place = int(rng.integers(2, len(model) - 1))
        model.insert(place, new)
        return str(place)
    if hasattr(model, "blocks"):
        place = int(rng.integers(1, len(model.blocks)))
        model.blocks.insert(place, new)
        return f"blocks.{place}"
    model.drop = nn.Sequential(model.drop, new)
    return "drop.1"


def append(task: Task, new: nn.Module) -> None:
    """Put a module without parameters after the last layer of the model."""
    model: Any = task.model
    if isinstance(model, nn.Sequential):
        model.append(new)
    else:
        model.head = nn.Sequential(model.head, new)


def last(model: nn.Module) -> Any:
    """The last linear layer."""
    return module(model, weighted(model)[-1])


class Switched(nn.Module, ABC):
    """Passes its input on until it is switched on."""

    def __init__(self) -> None:
        super().__init__()
        self.on = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The input, or what the fault makes of it."""
        return self.fault(x) if self.on else x

    @abstractmethod
    def fault(self, x: torch.Tensor) -> torch.Tensor:
        """What happens once it is on."""

    def switch(self) -> None:
        """Turn it on."""
        self.on = True
