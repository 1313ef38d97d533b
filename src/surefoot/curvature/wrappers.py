"""What torch wraps around a model comes in, the model inside goes out.

Weights that `fully_shard` spread over processes have no second derivative where they
are: full copies stand in for them while passes are made.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from surefoot.curvature.errors import CurvatureError

Groups = tuple[dist.ProcessGroup, ...]
"""Processes over which batches are spread, a group for each dimension of their mesh."""

FLAT_SHARDS = "FullyShardedDataParallel"
SHARDS = "FSDPModule"
"""Classes of torch.distributed.fsdp by name: importing them takes seconds."""


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside of DistributedDataParallel, DataParallel and torch.compile.

    >>> model = nn.Linear(2, 1)
    >>> unwrapped(model) is model
    True
    """
    while True:
        compiled = vars(model).get("_modules", {}).get("_orig_mod")
        if compiled is not None:
            model = compiled
        elif isinstance(model, DistributedDataParallel | DataParallel):
            model = model.module
        else:
            return model


def groups_of(model: nn.Module) -> Groups:
    """The processes over which a model's batches are spread; none if there is one.

    Raises:
        CurvatureError: the model is sharded in a way that has no second derivative.
    """
    for name, module in model.named_modules():
        if isinstance(module, DistributedDataParallel):
            group: Any = module.process_group
            return (group,)
        if _is(module, FLAT_SHARDS):
            raise CurvatureError(
                f"{name or 'the model'} is a {FLAT_SHARDS}, whose flat weights have no "
                "second derivative; shard it with torch.distributed.fsdp.fully_shard, "
                "or use a model that is not sharded"
            )
    meshes = [_mesh(one) for one in model.parameters() if is_sharded(one)]
    return tuple(meshes[0].get_all_groups()) if meshes else ()


def is_sharded(tensor: torch.Tensor) -> bool:
    """Whether a tensor is spread over processes."""
    return hasattr(tensor, "full_tensor")


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor itself, or all of one that is spread over processes.

    All processes must call this together.
    """
    full: Any = tensor
    return full.full_tensor() if is_sharded(tensor) else tensor


class FullWeights:
    """Full copies of the weights that are spread over processes.

    They take the memory of the whole model in each process. All processes must make
    theirs together.

    Raises:
        CurvatureError: a weight is spread by something else than `fully_shard`.
    """

    def __init__(self, model: nn.Module) -> None:
        self._places: list[tuple[nn.Module, str, torch.Tensor]] = []
        self._copies: dict[int, torch.Tensor] = {}
        self._sharded = [module for module in model.modules() if _is(module, SHARDS)]
        for path, module in model.named_modules():
            for name, weight in module.named_parameters(recurse=False):
                if not is_sharded(weight):
                    continue
                if not self._sharded:
                    raise CurvatureError(
                        f"{path}.{name} is spread over processes by something else "
                        "than torch.distributed.fsdp.fully_shard; use a model whose "
                        "weights are whole"
                    )
                self._places.append((module, name, weight))
                if id(weight) not in self._copies:
                    self._copies[id(weight)] = _copy(weight)

    def of(self, weights: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The copies of some weights; one that is not spread stands for itself."""
        return [self._copies.get(id(weight), weight) for weight in weights]

    @contextmanager
    def lent(self) -> Generator[None]:
        """Inside, the copies are the weights of the model and nothing gathers others.

        To be used inside of `restore.still`, which puts the hooks of modules back.
        """
        try:
            for module, name, weight in self._places:
                vars(module)["_parameters"][name] = self._copies[id(weight)]
            for module in self._sharded:
                _without_gathering(module)
            yield
        finally:
            for module, name, weight in self._places:
                vars(module)["_parameters"][name] = weight


def _copy(weight: torch.Tensor) -> torch.Tensor:
    full = whole(weight.detach()).clone()
    return full.requires_grad_(weight.requires_grad)


def _without_gathering(module: nn.Module) -> None:
    """Lift the hooks by which shards are gathered before a module and freed after."""
    for name in ("_forward_pre_hooks", "_forward_hooks"):
        table = vars(module)[name]
        for key, hook in list(table.items()):
            if hook.__module__.startswith("torch.distributed.fsdp"):
                table.pop(key)


def _mesh(weight: torch.Tensor) -> Any:
    shard: Any = weight
    return shard.device_mesh


def _is(module: nn.Module, name: str) -> bool:
    return any(kind.__name__ == name for kind in type(module).__mro__)
