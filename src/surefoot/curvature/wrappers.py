"""What torch wraps around a model comes in, the model inside goes out."""

from __future__ import annotations

import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.nn.parallel import DataParallel, DistributedDataParallel

from surefoot.curvature.errors import CurvatureError

Group = dist.ProcessGroup | None
"""Processes whose batches are one; None is this process alone."""


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside of DistributedDataParallel, DataParallel and torch.compile.

    Raises:
        CurvatureError: FullyShardedDataParallel (the first of that name) is around it.

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
            break
    for name, module in model.named_modules():
        if isinstance(module, FullyShardedDataParallel):
            raise CurvatureError(
                f"{name or 'the model'} is a FullyShardedDataParallel, whose flat "
                "weights have no second derivative; shard it with "
                "torch.distributed.fsdp.fully_shard, or use a model that is not sharded"
            )
    return model


def group_of(model: nn.Module) -> Group:
    """The processes over which a model's batches are spread; None if there is one."""
    for module in model.modules():
        if isinstance(module, DistributedDataParallel):
            return module.process_group
    return None
