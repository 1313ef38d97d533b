"""What is trained is lent for a replay, and comes back bit for bit, gradients too.

Nothing that watches the run hears of the replay.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch

from surefoot.blackbox.state import Trained, capture, restore
from surefoot.restore.hooks import VanishingHook
from surefoot.restore.module_state import ModuleState

WATCHING = ("surefoot.probes.", "surefoot.blackbox.", "surefoot.autopilot.")

_HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")


@contextmanager
def lent(trained: Trained) -> Generator[None]:
    """Inside, models and optimizers may be changed; afterwards they are as before."""
    modules = [
        ModuleState(module)
        for model in trained.models.values()
        for module in model.modules()
    ]
    weights = [p for model in trained.models.values() for p in model.parameters()]
    grads = [(weight, weight.grad) for weight in weights]
    before = capture(trained, 0)
    lifted = [_lift(one) for one in trained.optimizers.values()]
    try:
        _drop(weights)
        yield
    finally:
        for optimizer, tables in zip(trained.optimizers.values(), lifted, strict=True):
            _put_back(optimizer, tables)
        for module in modules:
            module.restore()
            module.put_hooks_back()
        restore(before, trained)
        for weight, grad in grads:
            weight.grad = grad


def _drop(weights: list[torch.nn.Parameter]) -> None:
    """No gradients: those of before are kept, not written over."""
    for weight in weights:
        weight.grad = None


def _lift(optimizer: torch.optim.Optimizer) -> dict[str, dict[int, Any]]:
    """Take the hooks of a watched run off; all hooks of before go out."""
    tables: dict[str, dict[int, Any]] = {}
    for name in _HOOKS:
        table = getattr(optimizer, name)
        tables[name] = dict(table)
        for key, hook in tables[name].items():
            if isinstance(hook, VanishingHook) or _watches(hook):
                table.pop(key)
    return tables


def _watches(hook: Any) -> bool:
    """Whether a hook watches or steers the run; a clip of the user's own does not."""
    return str(getattr(hook, "__module__", "")).startswith(WATCHING)


def _put_back(optimizer: torch.optim.Optimizer, tables: dict[str, Any]) -> None:
    for name, hooks in tables.items():
        table = getattr(optimizer, name)
        table.clear()
        table.update(hooks)
