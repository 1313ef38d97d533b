"""A model holds still: passes are run through it, and nothing of them remains.

For work that needs passes but changes no weight. It costs a copy of the buffers, not
one of the weights as a `Snapshot` does.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn

from surefoot.restore.module_state import ModuleState
from surefoot.restore.random_streams import RandomStreams


@contextmanager
def still(model: nn.Module, *, training: bool | None = None) -> Generator[None]:
    """Run passes through a model that leave no trace.

    Inside, buffers are copies, hooks of a watched run are lifted, compiled parts run
    eagerly, and gradients are recorded. Afterwards buffers, modes, counters of modules
    and all random streams are as they were, bit for bit, also when the inside raises.
    Weights and their `.grad` are not touched: use `torch.autograd.grad` inside.

    Args:
        model: what is run.
        training: the mode of all its modules inside; None leaves each in its own.

    >>> model = nn.BatchNorm1d(3)
    >>> with still(model):
    ...     _ = model(torch.randn(8, 3))
    >>> model.num_batches_tracked.item()
    0
    """
    states = [ModuleState(module) for module in model.modules()]
    streams = RandomStreams()
    try:
        _lend_copies(model)
        for module in model.modules() if training is not None else ():
            vars(module)["training"] = training
        with torch.enable_grad(), _eager():
            yield
    finally:
        for state in states:
            state.restore()
            state.put_hooks_back()
        streams.restore()


def _eager() -> AbstractContextManager[object]:
    """Run compiled parts as they were written: compiled ones have no second backward.

    Loading the compiler takes a second; where it was not loaded nothing is compiled.
    """
    if "torch._dynamo" in sys.modules:
        return torch.compiler.set_stance("force_eager")
    return nullcontext()


def _lend_copies(model: nn.Module) -> None:
    """Put copies in the place of all buffers; one that is shared stays shared."""
    copies: dict[int, torch.Tensor] = {}
    for tables in _tables(model):
        for name, buffer in tables.items():
            if buffer is not None:
                if id(buffer) not in copies:
                    copies[id(buffer)] = buffer.detach().clone()
                tables[name] = copies[id(buffer)]


def _tables(model: nn.Module) -> Iterator[dict[str, torch.Tensor | None]]:
    for module in model.modules():
        yield vars(module)["_buffers"]
